"""The regression loss of BYOL, for two views or many crops."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sslight.losses.precision import full_precision


@full_precision
def regression(prediction: Tensor, target: Tensor) -> Tensor:
    """Compute the mean over the batch of ``2 - 2 cos(prediction, target)``.

    That is the squared distance of the normalised vectors (Grill et al., 2020, arXiv:2006.07733,
    eq. 2). Both are normalised inside; the target gets no gradient.

    Args:
        prediction: ``[B, P]``, from the online network.
        target: ``[B, P]``, from the target network.
    """
    if prediction.shape != target.shape or prediction.ndim != 2:
        raise ValueError(
            "byol: prediction and target must have one shape [B, P], "
            f"got {tuple(prediction.shape)} and {tuple(target.shape)}."
        )
    cosine = (F.normalize(prediction, dim=1) * F.normalize(target.detach(), dim=1)).sum(1)
    return (2 - 2 * cosine).mean()


def byol_loss(predictions: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Compute the symmetric BYOL loss: each crop predicts the targets of the other crops.

    For two views it is the sum of both directions (eq. 2 and the line after it).

    Args:
        predictions: One ``[B, P]`` per crop, global crops first.
        targets: One ``[B, P]`` per global crop, in the same order; no gradient flows into them.

    Note:
        The paper has two views. For more crops this is twice the mean over all pairs of a target
        and a prediction of *different* crops, so that its scale, and the recipe, stay those of two
        views.
    """
    if not 1 <= len(targets) <= len(predictions) or len(predictions) < 2:
        raise ValueError(
            "byol: needs two or more predictions and targets for the first of them, "
            f"got {len(predictions)} predictions and {len(targets)} targets."
        )
    pairs = [
        regression(prediction, target)
        for t, target in enumerate(targets)
        for p, prediction in enumerate(predictions)
        if t != p
    ]
    return 2 * torch.stack(pairs).mean()
