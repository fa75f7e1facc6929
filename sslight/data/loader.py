"""Loaders without state: the trainer says where to start when the first batch is asked for."""

from __future__ import annotations

import atexit
import signal
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from sslight.cores import usable_cores
from sslight.data.batch import RawBatch
from sslight.data.dataset import ViewDataset, first
from sslight.data.errors import ImageError
from sslight.data.sampler import EpochBatches


@dataclass(frozen=True)
class WorkerOptions:
    """How batches are made beside the training process.

    Attributes:
        workers: Worker processes; 0 loads in the training process.
        prefetch: Batches that each worker prepares ahead.
        persistent: Keep the workers between epochs.
        pin_memory: Put batches into page-locked memory.
    """

    workers: int
    prefetch: int = 2
    persistent: bool = True
    pin_memory: bool = False

    def loader(self, dataset: Dataset[Any], batches: Any, persistent: bool) -> DataLoader[RawBatch]:
        """Build the one DataLoader around a dataset and its lists of (epoch, index) pairs."""
        some = self.workers > 0
        return DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=first,
            num_workers=self.workers,
            prefetch_factor=self.prefetch if some else None,
            persistent_workers=self.persistent and persistent and some,
            pin_memory=self.pin_memory,
            worker_init_fn=quiet_worker if some else None,
        )


#: Iterators whose workers may still live when the process leaves.
_running: weakref.WeakSet[Any] = weakref.WeakSet()


def batches_of(loader: DataLoader[RawBatch]) -> Iterator[RawBatch]:
    """Iterate a DataLoader; its workers end with this process, however it leaves.

    An error that a worker hands over in place of a batch is raised here, without its traceback.
    """
    iterator: Any = iter(loader)
    if loader.num_workers:
        # Before Python's own handlers, which wait for workers that ignore SIGTERM; what is
        # registered last runs first, and torch registers a handler for every worker.
        atexit.unregister(_end_workers)
        atexit.register(_end_workers)
        _running.add(iterator)
        for worker in iterator._workers:  # deaf to SIGTERM, so that torch could not end them
            worker._popen.terminate = worker._popen.kill
    for batch in iterator:
        if isinstance(batch, ImageError):
            raise batch
        yield batch


def _end_workers() -> None:
    for iterator in list(_running):
        iterator._shutdown_workers()


def quiet_worker(worker: int) -> None:
    """Leave stop signals to the training process, and the other cores to the other workers.

    A signal to the whole process group, as from Ctrl-C or SLURM, must not take the workers away
    before the training process has finished its step.
    """
    del worker
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)


def auto_workers(ranks_on_node: int, in_memory: bool) -> int:
    """Choose the number of workers per rank.

    One core per rank is left to the training process. Images held in memory are cheap to crop, and
    more than two workers only move them around.
    """
    spare = max(usable_cores() // max(ranks_on_node, 1) - 1, 0)
    return min(spare, 2 if in_memory else 16)


class TrainLoader:
    """The training batches of one rank, from wherever the trainer stands.

    Lightning loads no loader state when schedules ask for the number of steps early, nor from a
    checkpoint at an epoch's end; so this has none. ``position`` is asked when the first batch of an
    epoch is, and every loop is restored by then.

    Args:
        dataset: The train split.
        batches: Its order.
        options: Worker processes.
        position: Returns (epoch, micro-batches done).
    """

    def __init__(
        self,
        dataset: ViewDataset,
        batches: EpochBatches,
        options: WorkerOptions,
        position: Callable[[], tuple[int, int]],
    ) -> None:
        self.batches = batches
        self.position = position
        self.batch_size = batches.batch_size // (batches.world_size * batches.accumulate)
        self._loader = options.loader(dataset, batches, persistent=True)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[RawBatch]:
        self.batches.start_at(*self.position())
        yield from batches_of(self._loader)

    def close(self) -> None:
        """End the workers that were kept between epochs.

        Left to the garbage collector they would not hear of their end, and it would wait for them.
        """
        iterator: Any = self._loader._iterator
        if iterator is not None:
            iterator._shutdown_workers()
            self._loader._iterator = None


class EvalLoader:
    """Rows of a split in their clean view, in order.

    Args:
        dataset: The split.
        batches: The rows of each batch; an empty one gives an empty batch.
        options: Worker processes.
    """

    def __init__(
        self, dataset: ViewDataset, batches: Sequence[np.ndarray], options: WorkerOptions
    ) -> None:
        self.dataset = dataset
        self.batches = _Pairs(batches)
        self.options = options

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[RawBatch]:
        yield from batches_of(self.options.loader(self.dataset, self.batches, persistent=False))


class _Pairs:
    """Batches of rows as lists of (epoch, index) pairs, each made when it is asked for."""

    def __init__(self, batches: Sequence[np.ndarray]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for rows in self._batches:
            yield [(0, int(i)) for i in rows]
