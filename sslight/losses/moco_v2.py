"""The contrastive loss of MoCo: a query, its key, and a queue of other images' keys."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sslight.losses.precision import full_precision


@full_precision
def moco_v2_loss(query: Tensor, key: Tensor, queue: Tensor, temperature: float = 0.2) -> Tensor:
    """Compute InfoNCE (He et al., 2020, arXiv:1911.05722, eq. 1), the mean over the batch.

    The key is one of 1 + K candidates, the rows of the queue are the others::

        l = -log( exp(q.k / T) / (exp(q.k / T) + sum over the queue of exp(q.row / T)) )

    Query and key are normalised inside; the queue's rows are taken as they are, of length 1. Only
    the query gets a gradient. Nothing is gathered: the queue is equal on all ranks.

    Args:
        query: ``[B, P]``, from the encoder.
        key: ``[B, P]``, from the momentum encoder, of another view of the same images.
        queue: ``[K, P]``, keys of earlier batches.
        temperature: T.
    """
    if query.shape != key.shape or query.ndim != 2 or queue.shape[1:] != query.shape[1:]:
        shapes = [tuple(x.shape) for x in (query, key, queue)]
        raise ValueError(
            "moco_v2: query and key must have one shape [B, P] and the queue [K, P], got "
            f"{shapes[0]}, {shapes[1]} and {shapes[2]}."
        )
    query, key = F.normalize(query, dim=1), F.normalize(key.detach(), dim=1)
    positive = (query * key).sum(1, keepdim=True)  # [B, 1]
    logits = torch.cat([positive, query @ queue.detach().T], dim=1) / temperature
    first = torch.zeros(len(query), dtype=torch.int64, device=query.device)
    return F.cross_entropy(logits, first)
