"""Sinkhorn-Knopp: soft assignments of samples to prototypes, every prototype equally used."""

from __future__ import annotations

import torch
from torch import Tensor

from sslight.distributed import all_gather, sum_over_ranks
from sslight.losses.precision import full_precision


@torch.no_grad()
@full_precision
def sinkhorn(
    scores: Tensor,
    epsilon: float = 0.05,
    iterations: int = 3,
    *,
    gather: bool = True,
    weights: Tensor | None = None,
) -> Tensor:
    """Compute the codes of SwAV (Caron et al., 2020, arXiv:2006.09882, eq. 3 and 5).

    ``exp(scores / epsilon)`` is scaled alternately until each prototype has the same share of the
    samples and each sample is shared out wholly: each iteration normalises the prototypes, over all
    samples, then the samples. No gradient flows.

    Args:
        scores: ``[B, K]``, of this rank's samples with K prototypes.
        epsilon: The entropy's weight; the smaller, the harder the codes.
        iterations: Rounds, 1 or more; each ends with the samples.
        gather: Normalise prototypes over the samples of all ranks, which may bring different
            numbers of them.
        weights: ``[B]``, 0 or more: a sample counts as so many equal ones. One of weight 0 takes no
            part, and its row of the result says how it would be assigned.

    Returns:
        ``[B, K]`` in float32 or better; rows sum to 1.

    Note:
        The first iteration works on logarithms, so nothing underflows at small ``epsilon`` or far
        scores (the authors' code exponentiates first and meets rows of zeros, or infinities). Later
        iterations only collect a factor per sample and one per prototype: all of them lie within
        the range of floats, and the result is the same.
    """
    _check(scores, epsilon, iterations, weights)
    mass = scores.new_ones(len(scores)) if weights is None else weights.to(scores.dtype)
    codes = torch.empty_like(scores)  # the one large allocation: fresh memory costs most here
    offset = _log_totals(scores, epsilon, weights, gather, scratch=codes)
    torch.sub(scores, offset, out=codes).div_(epsilon)
    codes.sub_(codes.amax(dim=1, keepdim=True)).exp_()
    rows, columns = 1 / codes.sum(dim=1), torch.ones_like(offset)
    for _ in range(iterations - 1):
        totals = _over_ranks((mass * rows) @ codes, gather)  # [K]
        columns = 1 / torch.where(totals > 0, totals, 1.0)
        rows = 1 / (codes @ columns)
    return codes.mul_(columns).mul_(rows[:, None])


def _log_totals(
    scores: Tensor, epsilon: float, mass: Tensor | None, gather: bool, scratch: Tensor
) -> Tensor:
    """Compute each prototype's ``epsilon * log(sum of mass * exp(scores / epsilon))``.

    It is 0 where nothing takes part.
    """
    if mass is not None:
        scores = scores + epsilon * mass.log().to(scores.dtype)[:, None]  # -inf where the mass is 0
    top = scores.amax(dim=0) if len(scores) else scores.new_full(scores.shape[1:], -torch.inf)
    top = all_gather(top[None]).amax(dim=0) if gather else top  # [K]
    top = torch.where(top.isfinite(), top, 0.0)
    powers = torch.sub(scores, top, out=scratch).div_(epsilon).exp_()
    totals = _over_ranks(powers.sum(dim=0), gather)
    return torch.where(totals > 0, top + epsilon * totals.log(), 0.0)


def _over_ranks(totals: Tensor, gather: bool) -> Tensor:
    return sum_over_ranks(totals) if gather else totals


def _check(scores: Tensor, epsilon: float, iterations: int, weights: Tensor | None) -> None:
    if scores.ndim != 2:
        raise ValueError(f"sinkhorn: scores must be [B, K], got {tuple(scores.shape)}.")
    if not epsilon > 0:
        raise ValueError(f"sinkhorn: epsilon must be above 0, got {epsilon}.")
    if iterations < 1:
        raise ValueError(f"sinkhorn: iterations must be 1 or more, got {iterations}.")
    if weights is not None and weights.shape != scores.shape[:1]:
        raise ValueError(
            f"sinkhorn: weights must be one per row of scores, [{len(scores)}], "
            f"got {tuple(weights.shape)}."
        )
