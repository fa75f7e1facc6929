"""Noise-contrastive estimation over a memory of all images, the loss of NPID and PIRL."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sslight.distributed import all_gather
from sslight.losses.precision import full_precision

#: Keeps the authors' denominators away from 0; single precision's step at 1, in any precision.
_EPS = torch.finfo(torch.float32).eps


@full_precision
def memory_logits(embedding: Tensor, rows: Tensor, temperature: float) -> Tensor:
    """Compare each embedding with its own candidates: ``cos / T``, ``[B, 1 + K]``.

    Args:
        embedding: ``[B, P]``, normalised inside.
        rows: ``[B, 1 + K, P]``, rows of length 1 from the memory, the image's own first.
        temperature: T.
    """
    if embedding.ndim != 2 or rows.ndim != 3 or rows[:, 0].shape != embedding.shape:
        raise ValueError(
            "memory_logits: embeddings must be [B, P] and their candidates [B, 1 + K, P], got "
            f"{tuple(embedding.shape)} and {tuple(rows.shape)}."
        )
    return torch.einsum("bp,bkp->bk", F.normalize(embedding, dim=1), rows) / temperature


@full_precision
def nce_loss(logits: Tensor, log_z: Tensor, num_images: int) -> Tensor:
    """Compute the NCE loss (Wu et al., 2018, arXiv:1805.01978, eq. 6 and 7) of instances.

    With ``P = exp(logit) / Z`` and the noise's share ``c = K / N``, the image's own row is to be
    told from K rows drawn at random, each a decision of its own::

        l = -log( P / (P + c + eps) ) - sum over the K others of log( c / (P + c + eps) )

    The loss is the mean over the batch, and Z a constant. Decisions are computed as log-sigmoids,
    so no exponential can overflow.

    Args:
        logits: ``[B, 1 + K]``, the image's own first.
        log_z: Scalar, log Z.
        num_images: N.
    """
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(
            f"nce: logits must be [B, 1 + K] with K of 1 or more, got {tuple(logits.shape)}."
        )
    count = logits.shape[1] - 1
    noise = count / num_images
    odds = logits - log_z - math.log(noise + _EPS)  # log P / (c + eps)
    own = F.logsigmoid(odds[:, 0])
    others = F.logsigmoid(-odds[:, 1:]).sum(1) + count * math.log(noise / (noise + _EPS))
    return -(own + others).mean()


@torch.no_grad()
@full_precision
def log_partition(logits: Tensor, num_images: int) -> Tensor:
    """Estimate log Z, the log of N times the mean of ``exp(logit)`` over all ranks' logits.

    Args:
        logits: Of this rank, of any shape, the same on all ranks; no gradient flows.
        num_images: N.
    """
    per_rank = all_gather(logits.flatten().logsumexp(0))  # [W]
    return per_rank.logsumexp(0) + math.log(num_images / (len(per_rank) * logits.numel()))
