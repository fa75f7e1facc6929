"""How well classes are told apart in validation, by torchmetrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn


def update_metrics(
    metrics: nn.ModuleDict, logits: Tensor | Mapping[str, Tensor], label: Tensor
) -> None:
    """Feed torchmetrics the rows whose label is known.

    Where there are several heads, ``logits`` are by head, and ``head/top1`` is a metric of one.
    """
    known = (label >= 0) if label.ndim == 1 else (label >= 0).any(dim=1)
    for name, metric in metrics.items():
        own = logits if isinstance(logits, Tensor) else logits[name.rpartition("/")[0]]
        cast(Any, metric).update(own[known], label[known])
