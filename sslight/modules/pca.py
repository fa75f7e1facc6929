"""Principal components of rows that every rank holds."""

from __future__ import annotations

import torch
from torch import Tensor

from sslight.distributed import all_gather
from sslight.losses.precision import full_precision

#: Rows that are on the device at one time.
_ROWS = 2**16


@torch.no_grad()
@full_precision
def principal_components(
    rows: Tensor, dim: int, *, device: torch.device | str | None = None
) -> Tensor:
    """Project centred rows on the directions of largest variance.

    Args:
        rows: ``[N, D]``, the same on every rank; N is 1 or more.
        dim: Components kept, at most D.
        device: Where to compute; by default where the rows are. Rows travel in blocks.

    Returns:
        ``[N, dim]``, largest variance first, where the rows are, float32 or better. Signs are
        arbitrary, and those of rank 0 on every rank.
    """
    if rows.ndim != 2 or not 1 <= dim <= rows.shape[1]:
        raise ValueError(
            f"principal_components: rows are {tuple(rows.shape)} and dim is {dim}; rows must be "
            "[N, D], and dim lie in 1 to D."
        )
    device = rows.device if device is None else device
    mean = rows.mean(dim=0).to(device)
    scatter = torch.zeros(len(mean), len(mean), dtype=mean.dtype, device=device)
    for block in torch.split(rows, _ROWS):
        centred = block.to(device) - mean
        scatter += centred.T @ centred
    directions = torch.linalg.eigh(scatter).eigenvectors.flip(1)[:, :dim]  # [D, dim]
    directions = all_gather(directions[None].contiguous())[0]
    blocks = torch.split(rows, _ROWS)
    return torch.cat([((block.to(device) - mean) @ directions).to(rows) for block in blocks])
