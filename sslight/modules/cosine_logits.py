"""A classifier by angle."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sslight.losses.msn import prototype_logits


class CosineLogits(nn.Module):
    """Cosines with K learnt rows, over a temperature; the length of a row changes nothing.

    Rows start uniform in ``+-1 / sqrt(D)``. Unlike those of
    :class:`~sslight.modules.prototypes.Prototypes` they get the gradient of the normalised row.

    Args:
        dim: D.
        count: K.
    """

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, dim))
        nn.init.uniform_(self.weight, -(dim**-0.5), dim**-0.5)

    def forward(self, embedding: Tensor, temperature: float = 1.0) -> Tensor:
        """Compare ``[B, D]``: logits ``[B, K]``."""
        return prototype_logits(embedding, self.weight, temperature)
