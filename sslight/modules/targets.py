"""A teacher's logits as targets that a student cannot meet by saying one thing for all images."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from sslight.losses.dino import centered_softmax
from sslight.losses.sinkhorn import sinkhorn
from sslight.modules.center import Center

Centering = Literal["sinkhorn", "center"]


class Targets(nn.Module):
    """Probabilities over prototypes, centred by one of two means.

    ``sinkhorn`` shares the samples of all ranks out evenly (3 rounds of Sinkhorn-Knopp, SwAV's);
    ``center`` subtracts the running mean of earlier logits and takes a softmax (DINO's).

    Args:
        dim: Number of prototypes.
        centering: Which of them.
        momentum: Of the running mean.
    """

    def __init__(self, dim: int, centering: Centering = "sinkhorn", momentum: float = 0.9) -> None:
        super().__init__()
        if centering not in get_args(Centering):
            raise ValueError(f"centering is {centering!r}; use one of {get_args(Centering)}.")
        self.center = Center(dim, momentum) if centering == "center" else None

    def forward(self, logits: Tensor, temperature: float, counted: Tensor | None = None) -> Tensor:
        """Compute targets ``[N, dim]``, without gradient; in training the center then moves.

        Args:
            logits: ``[N, dim]``, of this rank.
            temperature: T; Sinkhorn's epsilon.
            counted: ``[N]`` bool, the rows that take part; by default all.
        """
        if self.center is None:
            return sinkhorn(logits, temperature, weights=counted)
        targets = centered_softmax(logits, self.center.value, temperature)
        if self.training and torch.is_grad_enabled():
            self.center.update(logits, counted)
        return targets
