"""Supervised contrastive loss: all images of an anchor's class are its positives."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sslight.distributed import all_gather, gather_with_grad, rank
from sslight.losses.precision import full_precision


@full_precision
def supcon(
    views: Sequence[Tensor],
    label: Tensor,
    temperature: float = 0.1,
    base_temperature: float = 0.07,
    *,
    gather: bool = False,
) -> Tensor:
    """Compute SupCon (Khosla et al., 2020, arXiv:2004.11362, eq. 2, L_out).

    Each of the VN embeddings is an anchor. Its positives P are the other views of its image and all
    views of the other images of its class; A is everything but the anchor itself::

        l = -(T / T0) mean over P of log( exp(cos(anchor, p) / T) / sum over A of exp(cos / T) )

    The loss is the mean over anchors. Embeddings are normalised inside.

    Args:
        views: V projections, ``[B, P]`` each.
        label: ``[B]`` class ids. An image of label -1 (unknown) has only its own other views as
            positives, as in SimCLR, and is a negative of all other images.
        temperature: T.
        base_temperature: T0; the factor T / T0 keeps gradients of one size when T changes.
        gather: Take positives and negatives from all ranks, with gradient: the mean over ranks,
            and gradients averaged over ranks, equal those of one process with the whole batch.

    Raises:
        ValueError: For shapes that do not agree, fewer than two views, or temperatures that are
            not above 0.
    """
    _check(views, label, temperature, base_temperature)
    count = len(views)
    rows = F.normalize(torch.cat(list(views)), dim=1)  # [VB, P], crop-major
    bank = gather_with_grad(rows) if gather else rows  # [WVB, P], rank-major
    logits = rows @ bank.T / temperature  # [VB, WVB]

    own = identity(label, count, gather=False)
    everyone = identity(label, count, gather=gather)
    column = torch.arange(len(rows), device=rows.device) + (rank() * len(rows) if gather else 0)
    itself = column[:, None] == torch.arange(len(bank), device=rows.device)  # [VB, WVB]
    positive = ((own[:, None] == everyone) & ~itself).to(logits.dtype)

    total = logits.masked_fill(itself, float("-inf")).logsumexp(1)  # [VB]
    pull = (logits * positive).sum(1) / positive.sum(1)
    return (total - pull).mean() * (temperature / base_temperature)


def identity(label: Tensor, count: int, *, gather: bool) -> Tensor:
    """Number who belongs together: class ids, and for each unknown image a number of its own.

    Args:
        label: ``[B]``, -1 for unknown.
        count: Views of each image.
        gather: Return the numbers of all ranks, ``[W * count * B]``, instead of ``[count * B]``.
    """
    place = torch.arange(len(label), device=label.device) + rank() * len(label)
    number = torch.where(label >= 0, label, -1 - place).repeat(count)
    return all_gather(number) if gather else number


def _check(
    views: Sequence[Tensor], label: Tensor, temperature: float, base_temperature: float
) -> None:
    shapes = [tuple(view.shape) for view in views]
    if len(views) < 2 or any(len(s) != 2 or s != shapes[0] for s in shapes):
        raise ValueError(f"supcon: needs two or more views of one shape [B, P], got {shapes}.")
    if label.shape != views[0].shape[:1]:
        raise ValueError(
            f"supcon: needs one class id per image, [{len(views[0])}], but labels are "
            f"{list(label.shape)}. Labels of several classes per image are not for this loss."
        )
    for name, value in (("temperature", temperature), ("base_temperature", base_temperature)):
        if not value > 0:
            raise ValueError(f"supcon: {name} must be above 0, got {value}.")
