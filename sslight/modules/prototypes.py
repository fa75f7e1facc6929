"""Prototypes: learned directions that embeddings are compared with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslight.losses.precision import full_precision
from sslight.schedules import Clock


class Prototypes(nn.Module):
    """Cosines of embeddings with K prototypes, for one or several sets of them (heads).

    Rows of ``weight`` have length 1 at every forward: they are normalised when built and after each
    optimizer step, outside the graph, as in SwAV (arXiv:2006.09882), so the gradient is that of the
    plain dot product. To hold them still at first, give the recipe a rule:
    ``groups: [{pattern: prototypes, freeze_steps: 313}]``.

    Args:
        dim: Width of the embeddings.
        num_prototypes: K, or one K for each head.
    """

    def __init__(self, dim: int, num_prototypes: int | Sequence[int]) -> None:
        super().__init__()
        sizes = [num_prototypes] if isinstance(num_prototypes, int) else list(num_prototypes)
        if not sizes or min(sizes) < 1:
            raise ValueError(
                f"Prototypes: num_prototypes is {num_prototypes}; give a number from 1 on, or one "
                "for each head."
            )
        self.sizes = sizes
        self.weight = nn.Parameter(F.normalize(torch.randn(sum(sizes), dim), dim=1))

    def forward(self, embedding: Tensor) -> tuple[Tensor, ...]:
        """Compare ``[B, dim]``, normalised inside: one ``[B, K]`` per head, float32 or better."""
        return torch.split(cosines(embedding, self.weight), self.sizes, dim=1)

    @torch.no_grad()
    def after_step(self, clock: Clock) -> None:
        """Give every prototype length 1 again."""
        self.weight.copy_(F.normalize(self.weight, dim=1))


class FixedPrototypes(nn.Module):
    """Cosines of embeddings with K directions that do not learn.

    Args:
        rows: ``[K, dim]``, of length 1.
    """

    rows: Tensor

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows.detach())

    def forward(self, embedding: Tensor) -> Tensor:
        """Compare ``[B, dim]``, normalised inside: ``[B, K]``, float32 or better."""
        return cosines(embedding, self.rows)


@full_precision
def cosines(embedding: Tensor, unit: Tensor) -> Tensor:
    """Compute ``[B, K]`` cosines of rows ``[B, dim]`` with rows of length 1 ``[K, dim]``."""
    return F.normalize(embedding, dim=1) @ unit.T
