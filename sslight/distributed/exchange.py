"""Rows that change places within the global batch."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from sslight.distributed.collectives import is_distributed, rank, world_size
from sslight.modules.upload import uploaded


@torch.no_grad()
def exchanged(rows: Tensor, order: Tensor) -> Tensor:
    """Reorder the global batch: its place i gets row ``order[i]``; this rank's places come back.

    The global batch is that of rank 0, rank 1, ..., B rows each. Every row is sent once, to the
    rank that it goes to, while a gather would send it to all. No gradient.

    Args:
        rows: This rank's rows ``[B, ...]``.
        order: A permutation of the W B rows, on the CPU, the same on every rank.
    """
    if not is_distributed():
        return rows[uploaded(order, rows.device)]
    size, me = len(rows), rank()
    wanted = order.view(world_size(), size)
    owner = wanted // size
    leaving = [wanted[to][owner[to] == me] - me * size for to in range(world_size())]
    arriving = torch.bincount(owner[me], minlength=world_size())
    outgoing = rows[uploaded(torch.cat(leaving), rows.device)].contiguous()
    incoming = torch.empty_like(outgoing)
    dist.all_to_all_single(incoming, outgoing, arriving.tolist(), [len(part) for part in leaving])
    places = owner[me].argsort(stable=True).argsort()
    return incoming[uploaded(places, rows.device)]
