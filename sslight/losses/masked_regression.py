"""Smooth L1 regression of tokens, over those that a mask selects."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from sslight.distributed import mean_over_ranks
from sslight.losses.precision import full_precision


@full_precision
def masked_smooth_l1(
    prediction: Tensor, target: Tensor, mask: Tensor, beta: float = 1.0, *, gather: bool = False
) -> Tensor:
    """Compute the mean over selected tokens and channels of the smooth L1 distance.

    ``d ** 2 / (2 beta)`` where ``|d| <= beta``, else ``|d| - beta / 2``, with
    ``d = prediction - target``: the loss of data2vec (arXiv:2202.03555, eq. 3) and, with beta 1, of
    I-JEPA's code. No gradient flows into the target; nothing is normalised.

    Args:
        prediction: ``[..., D]``.
        target: ``[..., D]``.
        mask: ``[...]``, True (or 1) for the tokens that count.
        beta: Where the parabola becomes a line.
        gather: Divide by the mean number of selected tokens on a rank, so that the mean of the loss
            over ranks is that of one process with the whole batch.
    """
    if prediction.shape != target.shape or prediction.shape[:-1] != mask.shape:
        raise ValueError(
            "masked_smooth_l1: prediction and target must be [..., D] and the mask [...], got "
            f"{tuple(prediction.shape)}, {tuple(target.shape)} and {tuple(mask.shape)}."
        )
    if not beta > 0:
        raise ValueError(f"masked_smooth_l1: beta must be above 0, got {beta}.")
    distance = F.smooth_l1_loss(prediction, target.detach(), beta=beta, reduction="none").mean(-1)
    weight = mask.to(distance.dtype)
    count = mean_over_ranks(weight.sum()) if gather else weight.sum()
    return (distance * weight).sum() / count.clamp(min=1e-6)
