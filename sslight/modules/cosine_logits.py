"""A classifier by angle."""

from __future__ import annotations

from torch import Tensor

from sslight.losses.msn import prototype_logits
from sslight.modules.dino_head import UnitLinear


class CosineLogits(UnitLinear):
    """Cosines with K learnt rows over a temperature, in float32 or better.

    Args:
        dim: D.
        count: K.
    """

    def forward(self, embedding: Tensor, temperature: float = 1.0) -> Tensor:
        """Compare ``[B, D]``: logits ``[B, K]``."""
        return prototype_logits(embedding, self.weight, temperature)
