"""InfoNCE with in-batch negatives, for two networks or heads: MoCo v3's and NNCLR's losses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sslight.distributed import gather_with_grad, rank, world_size
from sslight.losses.precision import full_precision


@full_precision
def in_batch_info_nce(
    queries: Tensor, keys: Tensor, temperature: float, *, gather: bool = False
) -> Tensor:
    """Compute the cross-entropy of finding each query's own key among all keys of the batch.

    ``l_i = -log( exp(cos(q_i, k_i) / T) / sum over j of exp(cos(q_i, k_j) / T) )``, averaged over
    i. Only the keys are candidates, other queries are not (NT-Xent has both). Both are normalised
    inside and carry gradients; detach what must not.

    Args:
        queries: ``[B, P]``.
        keys: ``[B, P]``; row i belongs to query i.
        temperature: T.
        gather: Take the keys of all ranks, with their gradient: the mean over ranks, and
            gradients averaged over ranks, equal those of one process with the whole batch.

    Raises:
        ValueError: For shapes that do not agree, fewer than two images, or a ``temperature`` that
            is not above 0.
    """
    _check(queries, keys, temperature, gather)
    queries, keys = F.normalize(queries, dim=1), F.normalize(keys, dim=1)
    candidates = gather_with_grad(keys) if gather else keys  # [WB, P]
    first = rank() * len(queries) if gather else 0
    own = first + torch.arange(len(queries), device=queries.device)
    return F.cross_entropy(queries @ candidates.T / temperature, own)


def moco_v3_loss(
    queries: tuple[Tensor, Tensor],
    keys: tuple[Tensor, Tensor],
    temperature: float,
    *,
    gather: bool = False,
) -> Tensor:
    """Compute the loss of MoCo v3 (Chen et al., 2021, arXiv:2104.02057, algorithm 1).

    Each view's queries find the momentum encoder's keys of the other view: 2T times the in-batch
    cross-entropy, *summed* over both directions. Keys get no gradient.

    Args:
        queries: One ``[B, P]`` per view.
        keys: One ``[B, P]`` per view.
        temperature: T.
        gather: As in :func:`in_batch_info_nce`.
    """
    (q1, q2), (k1, k2) = queries, (keys[0].detach(), keys[1].detach())
    forth = in_batch_info_nce(q1, k2, temperature, gather=gather)
    back = in_batch_info_nce(q2, k1, temperature, gather=gather)
    return 2 * temperature * (forth + back)


def _check(queries: Tensor, keys: Tensor, temperature: float, gather: bool) -> None:
    if queries.ndim != 2 or queries.shape != keys.shape:
        raise ValueError(
            "in_batch_info_nce: queries and keys must have one shape [B, P], "
            f"got {tuple(queries.shape)} and {tuple(keys.shape)}."
        )
    if not temperature > 0:
        raise ValueError(f"in_batch_info_nce: temperature must be above 0, got {temperature}.")
    if len(queries) * (world_size() if gather else 1) < 2:
        raise ValueError(
            "in_batch_info_nce: one image has no negatives; use a batch of two or more images."
        )
