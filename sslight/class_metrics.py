"""How well classes are told apart in validation, by torchmetrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MultilabelAveragePrecision


def class_metrics(
    num_classes: int,
    *,
    multi_label: bool = False,
    top: Sequence[int] = (1, 5),
    heads: Sequence[str] = (),
) -> dict[str, Metric]:
    """Build the metrics of a classifier: ``top1``, ``top5``, or ``map`` for several labels.

    Args:
        num_classes: K.
        multi_label: Labels are ``[B, K]``, with -1 for an unknown entry; else class ids ``[B]``.
        top: Accuracies count the first k; those of K and more are left out.
        heads: Names of several heads, whose metrics are ``<head>/top1``; by default there is one.
    """
    if multi_label:
        return {
            f"{prefix}map": MultilabelAveragePrecision(num_classes, ignore_index=-1)
            for prefix in _prefixes(heads)
        }
    return {
        f"{prefix}top{k}": MulticlassAccuracy(num_classes, top_k=k, average="micro")
        for prefix in _prefixes(heads)
        for k in top
        if k < num_classes
    }


def _prefixes(heads: Sequence[str]) -> list[str]:
    return [f"{name}/" for name in heads] or [""]


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
