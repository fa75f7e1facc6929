"""Wall-clock time of training, from a monotonic clock and without waiting for the device."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from sslight.distributed import world_size
from sslight.strategies import is_accumulating

#: Windows that the estimate of the remaining time looks back on.
_HISTORY = 50


@dataclass(frozen=True)
class Pace:
    """Speed over the last window: from one reading to the next, pauses left out.

    Attributes:
        images_per_second: Images over all ranks.
        step_seconds: Time of an optimizer step.
        wait_seconds: Its part spent between batches: waiting for the loader, transfer, and what the
            data module does with the batch (on CPU that includes augmentation).
        remaining_seconds: Time to the end of training, pauses (validation) included; None where the
            end is not known.
    """

    images_per_second: float
    step_seconds: float
    wait_seconds: float
    remaining_seconds: float | None


class StepTimer:
    """Fed by a callback's hooks; read on logging steps.

    The device is never waited for. Readings are right on average all the same, since Lightning
    reads the logged values on the very steps on which this is read.
    """

    def __init__(self) -> None:
        self._history: deque[tuple[float, int]] = deque(maxlen=_HISTORY)
        self.start()

    def start(self) -> None:
        """Begin to measure; earlier windows are forgotten."""
        self._history.clear()
        self._idle_since = self._read_at = time.perf_counter()
        self._paused_at: float | None = None
        self._reset()

    def _reset(self) -> None:
        self._images, self._steps, self._wait, self._paused = 0, 0, 0.0, 0.0

    def batch_start(self) -> None:
        """A batch is there."""
        self._wait += time.perf_counter() - self._idle_since

    def batch_end(self, trainer: pl.Trainer, batch: Any) -> None:
        """Its work is handed out; the wait for the next one begins."""
        self._images += count_images(batch)
        self._steps += not is_accumulating(trainer)
        self._idle_since = time.perf_counter()

    def pause(self) -> None:
        """Something other than training begins: validation, the end of an epoch."""
        if self._paused_at is None:
            self._paused_at = time.perf_counter()

    def resume(self) -> None:
        """Training goes on."""
        now = time.perf_counter()
        if self._paused_at is not None:
            self._paused += now - self._paused_at
        self._paused_at, self._idle_since = None, now

    def read(self, trainer: pl.Trainer) -> Pace | None:
        """Return the pace since the last reading and begin a new window; None without a step."""
        if not self._steps:
            return None
        now = time.perf_counter()
        whole = max(now - self._read_at, 1e-9)
        busy = max(whole - self._paused, 1e-9)
        self._history.append((whole, self._steps))
        pace = Pace(
            images_per_second=self._images * world_size() / busy,
            step_seconds=busy / self._steps,
            wait_seconds=self._wait / self._steps,
            remaining_seconds=self._remaining(trainer),
        )
        self._read_at = self._idle_since = now
        self._reset()
        return pace

    def _remaining(self, trainer: pl.Trainer) -> float | None:
        total = total_steps(trainer)
        if total is None:
            return None
        seconds, steps = (sum(column) for column in zip(*self._history, strict=True))
        return float(max(total - trainer.global_step, 0) * seconds / steps)


def total_steps(trainer: pl.Trainer) -> int | None:
    """Optimizer steps of the whole training; None where it has no end."""
    total = trainer.estimated_stepping_batches
    return int(total) if 0 < total < float("inf") else None


def count_images(batch: Any) -> int:
    """Number of images in a batch: rows of ``index``, of the first view, or of the first tensor."""
    if isinstance(batch, Tensor):
        return len(batch) if batch.ndim else 0
    if isinstance(batch, dict):
        ordered = [batch[key] for key in ("index", "views") if key in batch]
        return next(filter(None, map(count_images, [*ordered, *batch.values()])), 0)
    if isinstance(batch, list | tuple):
        return next(filter(None, map(count_images, batch)), 0)
    return 0
