"""A few real steps with a stopwatch: where the time goes, and how much memory they take."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

from sslight.data.datamodule import SSLDataModule
from sslight.module import SSLModule

#: Micro-batches to measure after the first two, which start workers and warm caches.
_LAPS, _WARM_UP = 8, 2
#: Seconds after which measuring ends, once there is an optimizer step and a lap to judge by.
_PATIENCE = 45.0


@dataclass(frozen=True)
class StepFigures:
    """What a step takes on one device; times in seconds per micro-batch, medians.

    Attributes:
        images: Images of a micro-batch.
        accumulate: Micro-batches of an optimizer step.
        laps: Micro-batches that the medians are of.
        wait: From the end of one to the arrival of the next.
        augment: Transfer and augmentation.
        compute: Forward, backward and optimizer.
        load: What one worker needs to read, decode and crop a micro-batch.
        workers: Worker processes.
        before_epoch: Seconds of what the method does before an epoch.
        loss: Of the last micro-batch.
        memory: Peak bytes: of the CUDA device's allocator, or of this process.
        device: Its name.
        device_memory: Its bytes; None on a CPU.
    """

    images: int
    accumulate: int
    laps: int
    wait: float
    augment: float
    compute: float
    load: float
    workers: int
    before_epoch: float
    loss: float
    memory: int
    device: str
    device_memory: int | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether it was measured on a CUDA device."""
        return self.device_memory is not None

    @property
    def busy(self) -> float:
        """Seconds of a micro-batch without waiting."""
        return self.augment + self.compute

    @property
    def steady_wait(self) -> float:
        """The wait that lasts: workers begin with batches in store, so early waits are short."""
        if not self.workers:
            return self.wait
        return max(self.wait, self.load / self.workers - self.busy)

    @property
    def step(self) -> float:
        """Seconds of an optimizer step."""
        return self.accumulate * (self.busy + self.steady_wait)


class TimedData(SSLDataModule):
    """The data module, noting when a batch has come from the loader."""

    arrived = 0.0

    def prepare_data(self) -> None:
        """Keep no decoded images for the few that are looked at."""

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Note the time."""
        self.arrived = time.perf_counter()
        return batch


class Stopwatch(Checkpoint):
    """Times micro-batches and ends training after a few.

    It is a ``Checkpoint`` that never saves, so that Lightning adds none of its own.

    Args:
        data: Says when batches arrived.
        least: Micro-batches of an optimizer step, which is run whatever it takes.
    """

    def __init__(self, data: TimedData, least: int = 1) -> None:
        self.data, self.least = data, least
        self.laps: list[tuple[float, float, float]] = []  # wait, augment, compute
        self.loss = math.nan

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the watch."""
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)
        self._started = self._idle_since = time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """A batch is augmented."""
        self._begun = _now(pl_module.device)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Its work is done; stop training if that is enough."""
        now, arrived = _now(pl_module.device), self.data.arrived
        self.laps.append((arrived - self._idle_since, self._begun - arrived, now - self._begun))
        self.loss = float(outputs["loss"])
        self._idle_since = time.perf_counter()
        tired = now - self._started > _PATIENCE and len(self.laps) >= max(self.least, 2)
        if tired or len(self.laps) >= max(self.least, _WARM_UP + _LAPS):
            trainer.should_stop = True

    @property
    def medians(self) -> tuple[float, float, float]:
        """Wait, augmentation and computation of a micro-batch, those of the warm-up left out."""
        kept = self.settled
        wait, augment, compute = (statistics.median(column) for column in zip(*kept, strict=True))
        return wait, augment, compute

    @property
    def settled(self) -> list[tuple[float, float, float]]:
        """The laps after the warm-up; of very few, the last."""
        return self.laps[min(_WARM_UP, len(self.laps) - 1) :]


def measure(
    trainer_with: Callable[[pl.Callback], pl.Trainer], method: SSLModule, data: TimedData
) -> StepFigures:
    """Run a few steps and time them.

    Args:
        trainer_with: Builds the Trainer around a callback; its folder is thrown away afterwards.
        method: The method.
        data: The data, its batch that of one device.
    """
    watch = Stopwatch(data)
    trainer = trainer_with(watch)
    watch.least = trainer.accumulate_grad_batches
    spent = _time_before_epoch(method)
    trainer.fit(method, datamodule=data)
    wait, augment, compute = watch.medians
    options = data._worker_options(data.source("train"))
    return StepFigures(
        images=data.batch_size // trainer.accumulate_grad_batches,
        accumulate=trainer.accumulate_grad_batches,
        laps=len(watch.settled),
        wait=wait,
        augment=augment,
        compute=compute,
        load=load_seconds(data, data.batch_size // trainer.accumulate_grad_batches),
        workers=options.workers,
        before_epoch=max(spent, default=0.0),
        loss=watch.loss,
        **_memory(trainer.strategy.root_device),
    )


def load_seconds(data: SSLDataModule, images: int) -> float:
    """Time one worker's share of the work, reading, decoding and cropping, for so many images.

    Like a worker, it uses one thread. A part of a large batch is timed and scaled.
    """
    source = data.source("train")
    timed = min(images, len(source), 64)
    dataset = data.view_dataset(source, data.maker, replace=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        begun = time.perf_counter()
        dataset.__getitems__([(0, len(source) - 1 - i) for i in range(timed)])
        return (time.perf_counter() - begun) * images / timed
    finally:
        torch.set_num_threads(threads)


def _time_before_epoch(method: SSLModule) -> list[float]:
    """Time what the method does before an epoch; an empty list is filled when it has been done."""
    spent: list[float] = []
    original = method.before_epoch

    def timed(clock: Any) -> None:
        begun = _now(method.device)
        original(clock)
        spent.append(_now(method.device) - begun)

    method.before_epoch = timed  # type: ignore[method-assign]
    return spent


def _now(device: torch.device) -> float:
    """Return the time when the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _memory(device: torch.device) -> dict[str, Any]:
    if device.type == "cuda":
        told = torch.cuda.get_device_properties(device)
        peak = torch.cuda.max_memory_reserved(device)
        return {"memory": peak, "device": told.name, "device_memory": told.total_memory}
    return {"memory": peak_of_process(), "device": device.type.upper()}


def peak_of_process() -> int:
    """Return the most bytes this process has held; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) * (1 if sys.platform == "darwin" else 1024)
