"""A memory of every image's embedding, equal on every rank."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslight.distributed import all_gather
from sslight.losses.precision import full_precision


class MemoryBank(nn.Module):
    """One row of length 1 for each image of the data (Wu et al., 2018, arXiv:1805.01978).

    It starts with random directions, the same on every rank, is saved with the method, and stays
    out of DDP's broadcasts. Its rows carry no gradient.

    Args:
        num_images: N, rows.
        dim: Their width.
        momentum: m; a row becomes ``m * row + (1 - m) * embedding``, brought to length 1.
    """

    large_buffers = ("rows",)
    rows: Tensor

    def __init__(self, num_images: int, dim: int, momentum: float = 0.5) -> None:
        super().__init__()
        if num_images < 2:
            raise ValueError(f"MemoryBank: {num_images} image has none to be told from; give 2.")
        if not 0 <= momentum < 1:
            raise ValueError(f"MemoryBank: momentum is {momentum}; use 0 (replace) to below 1.")
        self.momentum = momentum
        self.register_buffer("rows", F.normalize(torch.randn(num_images, dim), dim=1))

    def __len__(self) -> int:
        return len(self.rows)

    @torch.no_grad()
    @full_precision
    def update(self, index: Tensor, embeddings: Tensor) -> None:
        """Move the rows ``index`` ``[B]`` of all ranks towards their embeddings ``[B, dim]``.

        An image that comes more than once moves once, towards the mean of its embeddings (of
        length 1 each), whatever their order and whichever ranks they lie on.
        """
        index = all_gather(index)
        wanted = mean_of_repeats(all_gather(F.normalize(embeddings, dim=1)), index)
        moved = torch.lerp(wanted, self.rows[index].to(wanted.dtype), self.momentum)
        self.rows.index_copy_(0, index, F.normalize(moved, dim=1).to(self.rows.dtype))


def mean_of_repeats(rows: Tensor, index: Tensor) -> Tensor:
    """Replace each row by the mean of the rows with its index; single rows stay bit for bit.

    Rows with one index become equal to the last bit, so that the order in which they are written
    to one place does not matter.

    Args:
        rows: ``[B, P]``.
        index: ``[B]``.
    """
    same = index[:, None] == index
    first = same.to(torch.uint8).argmax(1)
    others = same.fill_diagonal_(False).to(rows.dtype)
    means = (rows + others @ rows) / (1 + others.sum(1, keepdim=True))
    return means[first]
