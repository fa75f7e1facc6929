"""The negative cosine similarity of SimSiam, for two views or many."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sslight.losses.precision import full_precision


@full_precision
def simsiam_loss(
    predictions: Sequence[Tensor], targets: Sequence[Tensor], *, average_targets: bool = False
) -> Tensor:
    """Compute the mean of ``-cos(prediction, target)`` over pairs of different views.

    For two views it is ``-(cos(p1, z2) + cos(p2, z1)) / 2``, averaged over the batch (Chen & He,
    2020, arXiv:2011.10566, eq. 2). Both are normalised inside; targets get no gradient.

    Args:
        predictions: One ``[B, P]`` per view, global views first.
        targets: One ``[B, P]`` per global view, in the same order.
        average_targets: Let each view predict the mean of the other views' targets, instead of
            each of them (FastSiam, Pototzky et al., 2022); with two views that is the same.
    """
    _check(predictions, targets)
    terms = []
    for view, prediction in enumerate(predictions):
        others = [target.detach() for t, target in enumerate(targets) if t != view]
        if average_targets and others:
            others = [torch.stack(others).mean(0)]
        terms += [-F.cosine_similarity(prediction, target, dim=1).mean() for target in others]
    return torch.stack(terms).mean()


def _check(predictions: Sequence[Tensor], targets: Sequence[Tensor]) -> None:
    if not 1 <= len(targets) <= len(predictions) or len(predictions) < 2:
        raise ValueError(
            "simsiam: needs two or more predictions and targets for the first of them, "
            f"got {len(predictions)} predictions and {len(targets)} targets."
        )
    shapes = {tuple(x.shape) for x in [*predictions, *targets]}
    if len(shapes) > 1 or predictions[0].ndim != 2:
        raise ValueError(
            "simsiam: predictions and targets must have one shape [B, P], "
            f"got {', '.join(map(str, sorted(shapes)))}."
        )
