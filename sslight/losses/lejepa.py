"""LeJEPA's two terms: views agree, and embeddings are distributed as an isotropic Gaussian."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sslight.distributed import mean_over_ranks, world_size
from sslight.losses.precision import full_precision


@full_precision
def lejepa_loss(
    views: Sequence[Tensor],
    targets: Sequence[Tensor],
    directions: Tensor,
    sigreg_weight: float = 0.05,
    *,
    knots: int = 17,
    t_max: float = 3.0,
    gather: bool = False,
) -> Tensor:
    """Compute LeJEPA (Balestriero & LeCun, 2025, arXiv:2511.08544, algorithm 2).

    ``(1 - sigreg_weight) * invariance + sigreg_weight * sigreg``. The invariance is the mean, over
    views, images and dimensions, of the squared difference of a view and the image's centre, which
    is the mean of its targets. Gradients flow through views and centres.

    Args:
        views: V projections, ``[B, P]`` each.
        targets: The projections whose mean is the centre: in the paper the global views.
        directions: As in :func:`sigreg`, like the arguments after it.
        sigreg_weight: Lambda, in [0, 1].
        knots: As in :func:`sigreg`.
        t_max: As in :func:`sigreg`.
        gather: As in :func:`sigreg`.
    """
    _check(views, targets, directions)
    projections = torch.stack(list(views))  # [V, B, P]
    centres = torch.stack(list(targets)).mean(0)  # [B, P]
    invariance = (projections - centres).square().mean()
    gaussian = sigreg(projections, directions, knots=knots, t_max=t_max, gather=gather)
    return (1 - sigreg_weight) * invariance + sigreg_weight * gaussian


@full_precision
def sigreg(
    projections: Tensor,
    directions: Tensor,
    *,
    knots: int = 17,
    t_max: float = 3.0,
    gather: bool = False,
) -> Tensor:
    """Compute SIGReg (algorithm 1): how far projections are from an isotropic Gaussian.

    In each direction it is Epps and Pulley's statistic of the N sliced projections x against a
    standard normal, whose characteristic function is ``phi(t) = exp(-t ** 2 / 2)``::

        N * integral of |mean of exp(i t x) - phi(t)| ** 2 * phi(t) dt  over [-t_max, t_max]

    by the trapezoidal rule on [0, t_max], doubled, since the integrand is even. The result is the
    mean over directions and views.

    Args:
        projections: ``[V, B, P]``; each view is tested by itself.
        directions: Unit vectors ``[P, M]``, the same on all ranks.
        knots: Points of the quadrature, from 0 to ``t_max``, 2 or more.
        t_max: Where the integration ends.
        gather: Take the means, and N, over the batch of all ranks, with gradient: every rank then
            has the statistic of the whole batch, and gradients averaged over ranks are those of one
            process.
    """
    t = torch.linspace(0, t_max, knots, dtype=projections.dtype, device=projections.device)
    phi = torch.exp(-t.square() / 2)  # both what is expected and how it is weighted
    angles = (projections @ directions.to(projections)).unsqueeze(-1) * t  # [V, B, M, T]
    found = torch.stack([angles.cos().mean(1), angles.sin().mean(1)])  # [2, V, M, T]
    found = mean_over_ranks(found) if gather else found
    expected = torch.stack([phi, torch.zeros_like(phi)])[:, None, None]  # [2, 1, 1, T]
    distance = (found - expected).square().sum(0)  # [V, M, T]
    count = projections.shape[1] * (world_size() if gather else 1)
    return count * 2 * torch.trapezoid(distance * phi, t).mean()


def _check(views: Sequence[Tensor], targets: Sequence[Tensor], directions: Tensor) -> None:
    shapes = {tuple(x.shape) for x in [*views, *targets]}
    if min(len(views), len(targets)) < 1 or len(shapes) > 1 or views[0].ndim != 2:
        raise ValueError(
            "lejepa: needs views and targets of one shape [B, P], "
            f"got {len(views)} and {len(targets)} of {', '.join(map(str, sorted(shapes)))}."
        )
    if directions.ndim != 2 or len(directions) != views[0].shape[1]:
        raise ValueError(
            f"lejepa: directions must be [P, M] with P = {views[0].shape[1]}, "
            f"got {tuple(directions.shape)}."
        )
