"""Which image comes when: pure functions of (seed, epoch, position)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sslight.data.order import EpochOrder
from sslight.errors import RefusedRunError


class EpochBatches:
    """Micro-batches of one rank, as lists of (epoch, index) pairs; a batch sampler without state.

    The global batch k of an epoch is a function of (seed, epoch, k). Micro-batch ``a`` of rank
    ``r`` (of ``W``) holds its rows ``(a W + r) b ...``, contiguous, so that gathering over ranks
    restores the global order. The short tail of the epoch is dropped.

    Args:
        num_images: Images of the split.
        batch_size: Images per optimizer step, over all ranks and accumulated micro-batches.
        seed: Seed of the order.
        rank: This process.
        world_size: Number of processes.
        accumulate: Micro-batches per optimizer step.
    """

    def __init__(
        self,
        num_images: int,
        batch_size: int,
        seed: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
    ) -> None:
        check_batch_size(num_images, batch_size, world_size, accumulate)
        self.num_images = num_images
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.accumulate = accumulate
        self.epoch = 0
        self.start = 0

    def __len__(self) -> int:
        return self.num_images // self.batch_size * self.accumulate

    def start_at(self, epoch: int, done: int) -> None:
        """Make the next iteration begin at micro-batch ``done`` of ``epoch``."""
        self.epoch, self.start = epoch, done

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = EpochOrder(self.num_images, self.seed, self.epoch)
        micro = self.batch_size // (self.world_size * self.accumulate)
        for position in range(self.start, len(self)):
            k, a = divmod(position, self.accumulate)
            first = k * self.batch_size + (a * self.world_size + self.rank) * micro
            yield [(self.epoch, i) for i in order[first : first + micro].tolist()]


def check_at_least(least: int, **numbers: object) -> None:
    """Raise if a number is below ``least``; what is no number (None, ``auto``) passes."""
    for name, number in numbers.items():
        if isinstance(number, int) and number < least:
            raise ValueError(f"{name} is {number}; give a number from {least}.")


def check_batch_size(num_images: int, batch_size: int, world_size: int, accumulate: int) -> None:
    """Raise unless the global batch splits evenly and the split holds at least one."""
    if accumulate < 1:
        raise RefusedRunError(
            f"trainer.accumulate_grad_batches is {accumulate}; give a number from 1."
        )
    parts = world_size * accumulate
    if batch_size < 1 or batch_size % parts:
        lower, upper = batch_size // parts * parts, (batch_size // parts + 1) * parts
        near = f"{lower} or {upper}" if lower > 0 else f"{upper}"
        raise RefusedRunError(
            f"data.batch_size is {batch_size} images per optimizer step, which {world_size} "
            f"devices x {accumulate} accumulated micro-batches cannot share evenly. Use {near}."
        )
    if num_images < batch_size:
        most = num_images // parts * parts
        advice = f"Lower data.batch_size to at most {most}"
        if not most:
            advice = f"They are too few for {parts} devices x micro-batches: use fewer of those"
        raise RefusedRunError(
            f"The train split has {num_images} images, fewer than one batch of {batch_size}. "
            f"{advice}."
        )


def shard_rows(rows: np.ndarray, rank: int, world_size: int, batch_size: int) -> list[np.ndarray]:
    """Split rows for evaluation: rank r gets rows r, r + W, ...; no padding, none twice.

    All ranks get the same number of batches, so that collectives inside a forward pass cannot wait
    for a rank that has finished. All are full but the last, which may be empty; so the batches of
    the rows from a whole number of batches on are those of all rows.
    """
    mine, largest = rows[rank::world_size], -(-len(rows) // world_size)
    return [mine[at : at + batch_size] for at in range(0, max(largest, 1), batch_size)]
