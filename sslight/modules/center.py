"""The running mean of a teacher's outputs, equal on every rank."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sslight.distributed import sum_over_ranks
from sslight.losses.precision import full_precision
from sslight.modules.wide import kept_wide
from sslight.schedules import Constant, Linear, Sequence

#: The teacher's temperature of DINO (arXiv:2104.14294, section 3.2) as part of the training: it
#: rises for 30 of 300 epochs. Centering flattens the targets, a low temperature sharpens them.
RISING_TEMPERATURE = Sequence((Linear(0.04, 0.07), Constant(0.07)), (0.1, 0.9), per="epoch")


class Center(nn.Module):
    """A moving average of the mean output (Caron et al., 2021, arXiv:2104.14294, eq. 4).

    ``value = m * value + (1 - m) * mean``, with the mean over the rows of all ranks. Subtracted
    from a teacher's logits it keeps single dimensions from winning for every image. It is float32
    or better, and so is the mean, in any surrounding precision.

    Args:
        dim: Width of the rows.
        momentum: m, in [0, 1].
    """

    value: Tensor

    def __init__(self, dim: int, momentum: float = 0.9) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ValueError(f"Center: momentum is {momentum}; it lies in [0, 1], e.g. 0.9.")
        self.momentum = momentum
        self.register_buffer("value", torch.zeros(dim))

    def _apply(self, fn: Any, recurse: bool = True) -> Center:
        with kept_wide(self, "value"):
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    @torch.no_grad()
    @full_precision
    def update(self, rows: Tensor, counted: Tensor | None = None) -> None:
        """Move towards the mean of raw logits.

        Args:
            rows: ``[..., dim]``, of this rank.
            counted: ``[...]``, true for the rows that count; by default all do. Where none counts
                on any rank, nothing moves.
        """
        rows = rows.flatten(0, -2)
        weight = rows.new_ones(len(rows)) if counted is None else counted.flatten().to(rows.dtype)
        total, count = sum_over_ranks(weight @ rows), sum_over_ranks(weight.sum())
        mean = torch.where(count > 0, total / count, self.value)
        self.value.lerp_(mean.to(self.value.dtype), 1 - self.momentum)
