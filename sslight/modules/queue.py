"""A queue of the newest embeddings, equal on every rank."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslight.distributed import all_gather


class Queue(nn.Module):
    """The newest ``size`` rows of width ``dim``, overwritten in a circle (MoCo, arXiv:1911.05722).

    It starts with random rows of length 1, the same on every rank, is saved with the method, and
    stays out of DDP's broadcasts. Its rows carry no gradient.

    Args:
        size: Rows kept.
        dim: Their width.
    """

    large_buffers = ("rows",)
    rows: Tensor
    cursor: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"Queue: size is {size}; it must be 1 or more.")
        self.register_buffer("rows", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("cursor", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.rows)

    @torch.no_grad()
    def push(self, rows: Tensor) -> None:
        """Append this rank's rows ``[B, dim]``: those of all ranks, in the global batch's order.

        Of a batch larger than the queue the last rows stay. Rows are stored as they come.
        """
        gathered = all_gather(rows).to(self.rows.dtype)
        kept = gathered[-len(self) :]
        first = self.cursor + len(gathered) - len(kept)
        places = (first + torch.arange(len(kept), device=kept.device)) % len(self)
        self.rows.index_copy_(0, places, kept)
        self.cursor.copy_((self.cursor + len(gathered)) % len(self))
