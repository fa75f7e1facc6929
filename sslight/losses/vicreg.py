"""The three terms of VICReg: variance, invariance, covariance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from sslight.distributed import gather_with_grad, world_size
from sslight.losses.precision import full_precision

#: Added to the variance below its root.
EPS = 1e-4


@full_precision
def vicreg_loss(
    views: Sequence[Tensor],
    invariance_weight: float = 25.0,
    variance_weight: float = 25.0,
    covariance_weight: float = 1.0,
    *,
    gather: bool = False,
) -> Tensor:
    """Compute VICReg (Bardes et al., 2022, arXiv:2105.04906, eq. 1 to 6), in its code's scale.

    The weighted sum of the mean squared difference of two views, the mean over views of
    :func:`variance_hinge`, and the sum over views of :func:`covariance_penalty`. With more than two
    views: the mean over pairs, the mean over views, and twice the mean over views, so that the
    terms keep their balance.

    Args:
        views: V projections, ``[B, P]`` each.
        invariance_weight: Lambda.
        variance_weight: Mu.
        covariance_weight: Nu.
        gather: Take variances and covariances over the batch of all ranks, with gradient: the mean
            over ranks, and gradients averaged over ranks, equal those of one process.

    Raises:
        ValueError: For shapes that do not agree, or fewer than two images.

    Note:
        The paper's equations 5 and 6 sum the squared differences over features and the hinge over
        views. Its weights of 25, 25 and 1 belong to the authors' code, which averages, as here.
    """
    _check(views, gather)
    invariance = torch.stack([F.mse_loss(a, b) for a, b in combinations(views, 2)]).mean()
    batches = [gather_with_grad(view) if gather else view for view in views]  # V of [WB, P]
    variance = torch.stack([variance_hinge(batch) for batch in batches]).mean()
    covariance = 2 * torch.stack([covariance_penalty(batch) for batch in batches]).mean()
    return (
        invariance_weight * invariance + variance_weight * variance + covariance_weight * covariance
    )


def variance_hinge(z: Tensor) -> Tensor:
    """Average ``max(0, 1 - sqrt(variance + 1e-4))`` over the features of ``[N, P]`` (eq. 1).

    The variance is the unbiased one.
    """
    return F.relu(1 - (z.var(0) + EPS).sqrt()).mean()


def covariance_penalty(z: Tensor) -> Tensor:
    """Sum the squared covariances of different features of ``[N, P]``, over P (eq. 3 and 4)."""
    centred = z - z.mean(0)
    covariance = centred.T @ centred / (len(z) - 1)  # [P, P]
    return covariance.fill_diagonal_(0).square().sum() / z.shape[1]


def _check(views: Sequence[Tensor], gather: bool) -> None:
    shapes = [tuple(view.shape) for view in views]
    if len(views) < 2 or any(len(s) != 2 or s != shapes[0] for s in shapes):
        raise ValueError(f"vicreg: needs two or more views of one shape [B, P], got {shapes}.")
    if len(views[0]) * (world_size() if gather else 1) < 2:
        raise ValueError("vicreg: one image has no variance; use a batch of two or more images.")
