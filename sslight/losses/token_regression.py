"""Smooth L1 regression of a teacher's tokens: of data2vec and I-JEPA."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sslight.distributed import mean_over_ranks
from sslight.losses.precision import full_precision


def normalised_tokens(tokens: Tensor) -> Tensor:
    """Layer-normalise ``[..., D]`` without learnt parameters, in float32 or better."""
    wide = tokens.to(torch.promote_types(tokens.dtype, torch.float32))
    return F.layer_norm(wide, wide.shape[-1:])


@full_precision
def masked_smooth_l1(
    prediction: Tensor, target: Tensor, mask: Tensor, beta: float = 1.0, *, gather: bool = False
) -> Tensor:
    """Compute the mean over selected tokens and channels of the smooth L1 distance.

    ``d ** 2 / (2 beta)`` where ``|d| <= beta``, else ``|d| - beta / 2``, with
    ``d = prediction - target``: the loss of data2vec (arXiv:2202.03555, eq. 3). No gradient flows
    into the target; nothing is normalised.

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


@full_precision
def block_smooth_l1(prediction: Tensor, target: Tensor, valid: Tensor, beta: float = 1.0) -> Tensor:
    """Compute I-JEPA's loss: the mean over images and blocks of a block's mean smooth L1 distance.

    The mean over a block is over its valid patches and all channels, so that every block counts
    the same, whatever its size. The loss is a mean over images: nothing is gathered over ranks.

    Args:
        prediction: ``[B, M, Kt, D]``.
        target: ``[B, M, Kt, D]``; no gradient flows into it.
        valid: ``[B, M, Kt]``, False where a block is only filled up.
        beta: Where the parabola becomes a line.

    Note:
        The paper (arXiv:2301.08243, eq. 1) writes squared distances, summed over a block. Its code
        takes smooth L1 with beta 1 and the mean over everything; there all blocks of a batch have
        one size, and the values agree.
    """
    if prediction.shape != target.shape or prediction.shape[:-1] != valid.shape or valid.ndim != 3:
        raise ValueError(
            "block_smooth_l1: prediction and target must be [B, M, Kt, D], valid [B, M, Kt], got "
            f"{tuple(prediction.shape)}, {tuple(target.shape)} and {tuple(valid.shape)}."
        )
    distance = F.smooth_l1_loss(prediction, target.detach(), beta=beta, reduction="none").mean(-1)
    weight = valid.to(distance.dtype)
    return ((distance * weight).sum(-1) / weight.sum(-1).clamp(min=1)).mean()
