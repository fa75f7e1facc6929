"""What classifiers are measured by: accuracy over blocks of images, mean average precision."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_average_precision

from sslight.eval._statistics import interval


def accuracies(guesses: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Top-1 and top-5 accuracy, and the 95 % interval of the first.

    Args:
        guesses: Blocks of scores ``[B, K]`` and true classes ``[B]``; a class beyond K is wrong.
    """
    right, total = torch.zeros(2, dtype=torch.int64), 0
    for scores, targets in guesses:
        best = scores.topk(min(5, scores.shape[1]), dim=1).indices == targets[:, None]
        right += torch.stack([best[:, :1].any(1).sum(), best.any(1).sum()]).cpu()
        total += len(targets)
    top1, top5 = (right.double() / total).tolist()
    low, high = interval(top1, total)
    return {"top1": top1, "top5": top5, "low": low, "high": high}


def mean_average_precision(scores: Tensor, targets: Tensor) -> float:
    """Average precision of each class, averaged over the classes that have a positive.

    Args:
        scores: ``[N, K]``, any scale; only their order within a class counts.
        targets: ``[N]`` class ids, or ``[N, K]`` in {1, 0, -1 ignored}.
    """
    if targets.ndim == 1:
        targets = (targets[:, None] == torch.arange(scores.shape[1])).long()
    precisions = [
        average_precision(column[known], truth[known])
        for column, truth in zip(scores.T, targets.T, strict=True)
        if bool((truth == 1).any())
        for known in [truth >= 0]
    ]
    return sum(precisions) / len(precisions) if precisions else float("nan")


def average_precision(scores: Tensor, targets: Tensor) -> float:
    """Torchmetrics' average precision of scores ``[N]`` of any scale, targets in {0, 1}.

    torchmetrics takes scores beyond [0, 1] for logits, and its sigmoid would make ties of large
    ones; their ranks have the same order, and ties where scores have them.
    """
    values, ranks = torch.unique(scores, return_inverse=True)
    return float(binary_average_precision(ranks.double() / max(len(values) - 1, 1), targets))
