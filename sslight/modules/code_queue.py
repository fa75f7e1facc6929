"""Embeddings of earlier batches that help to compute the codes of a small one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sslight.distributed import rank, world_size
from sslight.modules.queue import Queue


class CodeQueue(nn.Module):
    """One queue per code crop, out of use until it is full (SwAV, arXiv:2006.09882, section 3.1).

    It never tells the host whether it is full: rows that are not to count have weight 0. Queues are
    whole on every rank, and each rank hands out its share of them.

    Args:
        size: Embeddings kept of each crop, over all ranks.
        dim: Their width.
        crops: Code crops.
    """

    pushed: Tensor

    def __init__(self, size: int, dim: int, crops: int) -> None:
        super().__init__()
        self.queues = nn.ModuleList([Queue(size, dim) for _ in range(crops)])
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))

    def join(self, crop: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Append this rank's share of a crop's queue to ``rows`` ``[B, dim]``.

        Returns:
            ``[B + R, dim]``, and the weight of each row: 1, or 0 for the queue's while not full.
        """
        queue = self._queue(crop)
        old = queue.rows[rank() :: world_size()].to(rows.dtype)
        full = (self.pushed >= len(queue)).to(rows.dtype)
        weights = torch.cat([torch.ones_like(rows[:, 0]), full.expand(len(old))])
        return torch.cat([rows, old]), weights

    @torch.no_grad()
    def push(self, crops: Sequence[Tensor]) -> None:
        """Append this rank's embeddings ``[B, dim]`` of every code crop."""
        for crop, rows in enumerate(crops):
            self._queue(crop).push(rows)
        self.pushed += len(crops[0]) * world_size()

    def _queue(self, crop: int) -> Queue:
        queue = self.queues[crop]
        if not isinstance(queue, Queue):
            raise TypeError(f"CodeQueue: crop {crop} has a {type(queue).__name__}, not a Queue.")
        return queue
