"""Talk between ranks: gathers with and without gradient, sums, and batch norm over ranks.

Outside a process group every function is the identity, so that a method needs no ``if``.

One convention governs all gradients here: the training loss is the *mean* over ranks of each rank's
loss, and gradients of parameters are averaged over ranks (DDP). A function whose output depends on
other ranks' inputs therefore sums, in its backward, what every rank's loss says about this rank's
input. The averaged gradient then equals that of one process holding the whole batch.

Collectives here expect every rank to bring tensors of the same shape, unless they say otherwise.
"""

from __future__ import annotations

from sslight.distributed.batch_norm import SyncBatchNorm, convert_sync_batchnorm
from sslight.distributed.collectives import (
    all_gather,
    all_reduce_max,
    broadcast,
    broadcast_object,
    gather_with_grad,
    is_distributed,
    mean_over_ranks,
    rank,
    sum_over_ranks,
    world_size,
)
from sslight.distributed.exchange import exchanged

__all__ = [
    "SyncBatchNorm",
    "all_gather",
    "all_reduce_max",
    "broadcast",
    "broadcast_object",
    "convert_sync_batchnorm",
    "exchanged",
    "gather_with_grad",
    "is_distributed",
    "mean_over_ranks",
    "rank",
    "sum_over_ranks",
    "world_size",
]
