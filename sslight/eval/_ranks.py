"""Independent pieces of work, shared out to the ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch.distributed as dist

from sslight.distributed import rank, world_size

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def over_ranks(items: Sequence[Item], work: Callable[[Item], Outcome]) -> list[Outcome]:
    """Do ``work`` for every item, each on one rank, and give every rank all outcomes in order.

    An item is worked on as it would be alone, so the number of ranks changes no outcome.

    Args:
        items: The same on every rank.
        work: Makes no collective calls; its outcome can be pickled.
    """
    mine = [work(item) for item in items[rank() :: world_size()]]
    if world_size() == 1:
        return mine
    shares: list[Any] = [None] * world_size()
    dist.all_gather_object(shares, mine)
    return [shares[i % world_size()][i // world_size()] for i in range(len(items))]
