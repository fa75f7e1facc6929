"""Positions of patches: fixed sines and cosines, and learnt ones resized to another grid."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sincos_positions(
    height: int, width: int, dim: int, device: torch.device | str | None = None
) -> Tensor:
    """Fixed position embeddings of a grid, row by row: ``[height * width, dim]`` float64.

    As in MAE and MoCo v3, the first half of ``dim`` encodes x (the column), the second y (the row).
    Each half holds the sines, then the cosines, of the place times ``10000 ** (-k / (dim / 4))``,
    k = 0 .. dim / 4 - 1.

    Raises:
        ValueError: ``dim`` is no multiple of 4.
    """
    if dim % 4:
        raise ValueError(
            f"sin-cos positions need a width that is a multiple of 4, got {dim}: a quarter each "
            "for the sines and cosines of x and y."
        )

    def count(n: int) -> Tensor:
        return torch.arange(n, dtype=torch.float64, device=device)

    rate = 10000.0 ** (-count(dim // 4) / (dim // 4))
    x = count(width).repeat(height)  # [hw]
    y = count(height).repeat_interleave(width)
    angles = [place[:, None] * rate for place in (x, y)]
    waves = [wave for angle in angles for wave in (angle.sin(), angle.cos())]
    return torch.cat(waves, dim=1)


@torch.no_grad()
def fill_with_sincos(table: Tensor, grid: tuple[int, int]) -> None:
    """Write fixed positions into ``[1, n + h * w, D]``, 0 for the first n, and freeze it."""
    patches = sincos_positions(*grid, table.shape[2], device=table.device)
    table.zero_()[0, table.shape[1] - len(patches) :] = patches.to(table.dtype)
    table.requires_grad_(False)


def resized_grid(values: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Interpolate what a grid of patches has, ``[B, h * w, D]``, to another grid, bicubic.

    Position embeddings, or features. Values are those of ``F.interpolate(mode="bicubic",
    antialias=False)``, as DINO resizes them; timm's default smooths first when the grid shrinks. It
    is done as two matrix products, whose gradient, unlike that of ``interpolate`` on a GPU, is the
    same in every run.
    """
    if old == new:
        return values
    rows, columns = (
        _bicubic(a, b, values.device, torch.promote_types(values.dtype, torch.float32))
        for a, b in zip(old, new, strict=True)
    )
    grid = values.to(rows.dtype).reshape(len(values), *old, -1)  # [B, h, w, D]
    resized = torch.einsum("ih,jw,bhwd->bijd", rows, columns, grid)
    return resized.flatten(1, 2).to(values.dtype)


@torch.no_grad()
def _bicubic(old: int, new: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The matrix ``[new, old]`` of bicubic interpolation along one axis."""
    basis = torch.eye(old, dtype=dtype, device=device)[None, :, :, None]  # [1, old, old, 1]
    return F.interpolate(basis, size=(new, 1), mode="bicubic")[0, :, :, 0].T
