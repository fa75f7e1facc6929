"""NT-Xent, the contrastive loss of SimCLR, for two views or many crops."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sslight.distributed import gather_with_grad, rank, world_size
from sslight.losses.precision import full_precision


def nt_xent(a: Tensor, b: Tensor, temperature: float = 0.1, *, gather: bool = False) -> Tensor:
    """Compute NT-Xent (Chen et al., 2020, arXiv:2002.05709, eq. 1) of two views.

    Each of the 2N embeddings is an anchor; its positive is the other view of its image, its
    negatives are the 2N - 2 embeddings of other images::

        l = -log( exp(cos(anchor, positive) / T) / sum over positive and negatives of exp(cos / T) )

    The loss is the mean over anchors. Embeddings are normalised inside.

    Args:
        a: Projections of the first view, ``[B, P]``.
        b: Projections of the second view, ``[B, P]``.
        temperature: T.
        gather: Take negatives from all ranks, with gradient: the mean over ranks, and gradients
            averaged over ranks, equal those of one process with the whole batch.

    Raises:
        ValueError: For shapes that do not agree, or fewer than two images.
    """
    return nt_xent_multiview([a, b], temperature, gather=gather)


@full_precision
def nt_xent_multiview(
    views: Sequence[Tensor], temperature: float = 0.1, *, gather: bool = False
) -> Tensor:
    """Compute NT-Xent over every ordered pair of crops of an image.

    With V crops there are V - 1 terms per anchor, ``-log(positive / (positive + negatives))``. The
    negatives are all crops of all other images; the other positives are not in the denominator. The
    loss is the mean over anchors and terms, and for V = 2 it is :func:`nt_xent`.

    Args:
        views: V projections, ``[B, P]`` each.
        temperature: T.
        gather: Take negatives from all ranks, as in :func:`nt_xent`.
    """
    positives, negatives = pair_logits(views, temperature, gather=gather)  # [V, B, V], [V, B, 1]
    return mean_over_pairs(-F.logsigmoid(positives - negatives))


def pair_logits(
    views: Sequence[Tensor], temperature: float, *, gather: bool = False
) -> tuple[Tensor, Tensor]:
    """Compute what contrastive losses over crops are made of.

    Returns:
        ``cos / T`` of each crop with each crop of its image, ``[V, B, V]``, itself included; and
        the log-sum-exp of ``cos / T`` over all crops of all other images, ``[V, B, 1]``.
    """
    _check(views, temperature, gather)
    count, batch = len(views), len(views[0])
    rows = F.normalize(torch.cat(list(views)), dim=1)  # [VB, P], crop-major
    bank = gather_with_grad(rows) if gather else rows  # [WVB, P], rank-major
    logits = rows @ bank.T / temperature  # [VB, WVB]

    # Leave the anchor's own image, one column per crop, out of the negatives.
    offset = rank() * len(rows) if gather else 0
    crop = torch.arange(count, device=rows.device)
    image = torch.arange(batch, device=rows.device).repeat(count)  # [VB]
    own = offset + image[:, None] + batch * crop  # [VB, V]
    negatives = logits.scatter_(1, own, float("-inf")).logsumexp(1)  # [VB]

    crops = rows.view(count, batch, -1)
    positives = torch.einsum("vbp,ubp->vbu", crops, crops) / temperature  # [V, B, V]
    return positives, negatives.view(count, batch, 1)


def mean_over_pairs(terms: Tensor) -> Tensor:
    """Average ``[V, B, V]`` over the ordered pairs of two different crops of an image."""
    count, batch, _ = terms.shape
    itself = torch.eye(count, dtype=torch.bool, device=terms.device)[:, None]  # [V, 1, V]
    return terms.masked_fill(itself, 0.0).sum() / (count * batch * (count - 1))


def _check(views: Sequence[Tensor], temperature: float, gather: bool) -> None:
    shapes = [tuple(view.shape) for view in views]
    if len(views) < 2 or any(len(s) != 2 or s != shapes[0] for s in shapes):
        raise ValueError(f"nt_xent: needs two or more views of one shape [B, P], got {shapes}.")
    if not temperature > 0:
        raise ValueError(f"nt_xent: temperature must be above 0, got {temperature}.")
    if len(views[0]) * (world_size() if gather else 1) < 2:
        raise ValueError("nt_xent: one image has no negatives; use a batch of two or more images.")
