"""The loss of MSN: masked anchors predict a sharpened target's assignment to prototypes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sslight.distributed import mean_over_ranks
from sslight.losses.precision import full_precision
from sslight.losses.sinkhorn import sinkhorn


@full_precision
def prototype_logits(embedding: Tensor, prototypes: Tensor, temperature: float = 0.1) -> Tensor:
    """Compute ``cos / T`` of embeddings with prototypes (Assran et al., 2022, arXiv:2204.07141).

    Both are normalised inside, and both get a gradient.

    Args:
        embedding: ``[B, D]``.
        prototypes: ``[K, D]``.
        temperature: T.
    """
    if embedding.ndim != 2 or embedding.shape[1:] != prototypes.shape[1:]:
        raise ValueError(
            "msn: embeddings must be [B, D] and prototypes [K, D], got "
            f"{tuple(embedding.shape)} and {tuple(prototypes.shape)}."
        )
    if not temperature > 0:
        raise ValueError(f"msn: temperature must be above 0, got {temperature}.")
    return F.normalize(embedding, dim=1) @ F.normalize(prototypes, dim=1).T / temperature


@torch.no_grad()
@full_precision
def msn_targets(
    logits: Tensor, sharpening: float = 0.25, iterations: int = 3, *, gather: bool = False
) -> Tensor:
    """Compute the targets: ``p ** (1 / T)``, normalised, of ``p = softmax(logits)``; no gradient.

    Args:
        logits: ``[B, K]``.
        sharpening: T, below 1 to sharpen.
        iterations: Rounds of Sinkhorn on the sharpened probabilities, which use all prototypes
            alike; 0 for none.
        gather: Take the images of all ranks in these rounds.
    """
    if not sharpening > 0:
        raise ValueError(f"msn: the temperature of targets must be above 0, got {sharpening}.")
    sharp = (logits / sharpening).log_softmax(dim=1)
    if iterations == 0:
        return sharp.exp()
    return sinkhorn(sharp, epsilon=1.0, iterations=iterations, gather=gather)


@full_precision
def msn_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute the mean over anchors of the cross-entropy with their image's target (eq. 1).

    Args:
        logits: ``[VB, K]``, of V anchors of each image, crop-major.
        targets: ``[B, K]``.
    """
    if not len(targets) or logits.shape[1:] != targets.shape[1:] or len(logits) % len(targets):
        raise ValueError(
            "msn: logits must be [VB, K] and targets [B, K], got "
            f"{tuple(logits.shape)} and {tuple(targets.shape)}."
        )
    log_p = logits.log_softmax(dim=1).view(-1, *targets.shape)  # [V, B, K]
    return -(targets.detach() * log_p).sum(-1).mean()


@full_precision
def me_max(logits: Tensor, *, gather: bool = False) -> Tensor:
    """Compute mean-entropy maximisation: ``log K - H(mean over anchors of softmax(logits))``.

    It is 0 where all prototypes are used alike, and log K where one is used for everything.

    Args:
        logits: ``[N, K]``.
        gather: Average over the anchors of all ranks.
    """
    mean = logits.softmax(dim=1).mean(dim=0)  # [K]
    mean = mean_over_ranks(mean) if gather else mean
    entropy: Tensor = torch.special.entr(mean).sum()
    return math.log(logits.shape[1]) - entropy
