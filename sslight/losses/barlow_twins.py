"""The redundancy-reduction loss of Barlow Twins."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from sslight.distributed import mean_over_ranks, world_size
from sslight.losses.precision import full_precision

#: Added to the variance, as batch norm does.
EPS = 1e-5


@full_precision
def barlow_twins_loss(
    views: Sequence[Tensor], redundancy_weight: float = 0.005, *, gather: bool = False
) -> Tensor:
    """Compute the loss of Barlow Twins (Zbontar et al., 2021, arXiv:2103.03230, eq. 1 and 2).

    Each view is standardised by itself over the batch (biased variance plus 1e-5, as a batch norm
    without affine does). From the cross-correlation ``C = z1' z2 / N`` of two views comes::

        sum_i (C_ii - 1) ** 2 + redundancy_weight * sum_{i != j} C_ij ** 2

    Both are sums, so the loss grows with P. With more than two views it is the mean over pairs.

    Args:
        views: V projections, ``[B, P]`` each.
        redundancy_weight: Lambda, the weight of the off-diagonal terms.
        gather: Take means, variances and C over the batch of all ranks, with gradient: every rank
            then has the loss of the whole batch, and gradients averaged over ranks are those of one
            process.

    Raises:
        ValueError: For shapes that do not agree, or fewer than two images.
    """
    _check(views, gather)
    standardised = [standardise(view, gather=gather) for view in views]
    identity = torch.eye(views[0].shape[1], dtype=views[0].dtype, device=views[0].device)
    terms = []
    for a, b in combinations(standardised, 2):
        correlation = _mean(a.T @ b / len(a), gather)  # [P, P]
        squares = (correlation - identity).square()
        diagonal = squares.diagonal().sum()
        terms.append(diagonal + redundancy_weight * (squares.sum() - diagonal))
    return torch.stack(terms).mean()


def standardise(view: Tensor, *, gather: bool = False) -> Tensor:
    """Give each column of ``[B, P]`` mean 0 and variance 1 over the batch, of all ranks if asked.

    In two passes, so that a large mean does not cancel the variance in float32.
    """
    centred = view - _mean(view.mean(0), gather)
    variance = _mean(centred.square().mean(0), gather)
    return centred * (variance + EPS).rsqrt()


def _mean(x: Tensor, gather: bool) -> Tensor:
    return mean_over_ranks(x) if gather else x


def _check(views: Sequence[Tensor], gather: bool) -> None:
    shapes = [tuple(view.shape) for view in views]
    if len(views) < 2 or any(len(s) != 2 or s != shapes[0] for s in shapes):
        raise ValueError(
            f"barlow_twins: needs two or more views of one shape [B, P], got {shapes}."
        )
    if len(views[0]) * (world_size() if gather else 1) < 2:
        raise ValueError(
            "barlow_twins: one image has no variance; use a batch of two or more images."
        )
