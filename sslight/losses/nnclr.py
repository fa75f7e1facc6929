"""NNCLR's loss, and the search for nearest neighbours in a queue."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sslight.losses.in_batch import in_batch_info_nce
from sslight.losses.precision import full_precision


@full_precision
@torch.no_grad()
def nearest_neighbours(rows: Tensor, bank: Tensor) -> Tensor:
    """Find for each row the row of ``bank`` with the largest cosine, without gradient.

    Args:
        rows: ``[B, P]``, of any length.
        bank: ``[K, P]``, normalised.

    Returns:
        Rows of the bank, ``[B, P]``.
    """
    if rows.ndim != 2 or bank.ndim != 2 or rows.shape[1] != bank.shape[1]:
        raise ValueError(
            "nearest_neighbours: needs rows [B, P] and a bank [K, P], "
            f"got {tuple(rows.shape)} and {tuple(bank.shape)}."
        )
    nearest = (F.normalize(rows, dim=1) @ bank.T).argmax(dim=1)
    return bank.index_select(0, nearest)


def nnclr_loss(
    neighbours: tuple[Tensor, Tensor],
    predictions: tuple[Tensor, Tensor],
    temperature: float = 0.1,
    *,
    gather: bool = False,
) -> Tensor:
    """Compute the loss of NNCLR (Dwibedi et al., 2021, arXiv:2104.14548, eq. 2 and 3).

    The neighbour of each view's projection finds its own image's prediction of the other view among
    the predictions of that view in the batch; the mean of both directions. Everything is normalised
    inside.

    Args:
        neighbours: One ``[B, P]`` per view, without gradient.
        predictions: One ``[B, P]`` per view.
        temperature: T.
        gather: As in :func:`sslight.losses.in_batch.in_batch_info_nce`.
    """
    (n1, n2), (p1, p2) = neighbours, predictions
    forth = in_batch_info_nce(n1, p2, temperature, gather=gather)
    back = in_batch_info_nce(n2, p1, temperature, gather=gather)
    return (forth + back) / 2
