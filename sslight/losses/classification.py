"""Cross-entropies that leave out unknown labels, the same at any number of ranks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sslight.distributed import mean_over_ranks
from sslight.losses.precision import full_precision


@full_precision
def cross_entropy(
    logits: Tensor, target: Tensor, *, label_smoothing: float = 0.0, per_rank: bool = False
) -> Tensor:
    """Compute softmax cross-entropy, averaged over the rows whose label is known.

    Args:
        logits: ``[B, K]``.
        target: ``[B]`` class ids, -1 for unknown; or ``[B, K]`` class probabilities, where a row
            with a negative entry is unknown.
        label_smoothing: Probability spread evenly over all classes, in [0, 1].
        per_rank: Divide by this rank's number of known rows. By default it is the mean over
            ranks, so that gradients averaged over ranks equal those of one process with the whole
            batch.
    """
    known = target >= 0 if target.ndim == 1 else (target >= 0).all(dim=1)
    if target.ndim == 1:
        rows = F.cross_entropy(
            logits, target, ignore_index=-1, reduction="none", label_smoothing=label_smoothing
        )
    else:
        soft = target.clamp(min=0).to(logits.dtype)
        rows = F.cross_entropy(logits, soft, reduction="none", label_smoothing=label_smoothing)
    return _mean_of_known(rows, known, per_rank)


@full_precision
def multilabel_bce(
    logits: Tensor, target: Tensor, *, label_smoothing: float = 0.0, per_rank: bool = False
) -> Tensor:
    """Compute binary cross-entropy, averaged over the known entries of the batch.

    Args:
        logits: ``[B, K]``.
        target: ``[B, K]`` in [0, 1], or -1 for an entry to ignore.
        label_smoothing: Pull targets towards one half by this fraction, in [0, 1].
        per_rank: As in :func:`cross_entropy`, counting entries.
    """
    if target.shape != logits.shape:
        raise ValueError(
            f"multilabel_bce: labels must be [B, K] = {tuple(logits.shape)} in {{1, 0, -1}}, "
            f"got {tuple(target.shape)}."
        )
    known = target >= 0
    wanted = target.clamp(min=0).to(logits.dtype)
    wanted = wanted * (1 - label_smoothing) + label_smoothing / 2
    entries = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return _mean_of_known(entries, known, per_rank)


def _mean_of_known(values: Tensor, known: Tensor, per_rank: bool) -> Tensor:
    """Average where ``known``; 0, with a gradient of zeros, where nothing is."""
    count = known.sum().to(values.dtype)
    count = count if per_rank else mean_over_ranks(count)
    total = torch.where(known, values, 0.0).sum()
    return total / torch.where(count > 0, count, 1.0)
