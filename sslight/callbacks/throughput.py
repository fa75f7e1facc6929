"""How fast training runs, and what it takes."""

from __future__ import annotations

import sys
from typing import Any

import pytorch_lightning as pl
import torch

from sslight.callbacks._timer import Pace, StepTimer
from sslight.strategies import is_logging_step


class Throughput(pl.Callback):
    """Log speed, waiting, remaining time and memory on logging steps, under ``time/``.

    Averages are over the steps since the last logging step; validation and the work between epochs
    are left out of them. No value is read from the device.

    - ``time/images_per_second``: over all ranks;
    - ``time/step``: seconds of an optimizer step;
    - ``time/data_wait``: seconds of it between batches: loader, transfer, and the data module's
      work (on CPU that includes augmentation);
    - ``time/eta``: seconds to the end of training, validation included;
    - ``time/peak_memory_mib``: most memory of this run so far, of rank 0: allocated on its CUDA
      device, or resident in its process.

    Also logs ``lr/<group>`` in full precision for each parameter group whose learning rate differs
    from the first one's (head lr, layer decay, rules).
    """

    def __init__(self) -> None:
        self._timer = StepTimer()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to measure."""
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)
        self._timer.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on after the work between epochs."""
        self._timer.resume()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """End the wait for a batch."""
        self._timer.batch_start()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the batch; log on logging steps."""
        self._timer.batch_end(trainer, batch)
        pace = self._timer.read(trainer) if is_logging_step(trainer) else None
        if pace is not None:
            values = {**_times(pace), **_memory(pl_module.device), **_learning_rates(trainer)}
            pl_module.log_dict(
                {name: torch.tensor(v, dtype=torch.float64) for name, v in values.items()}
            )
        if trainer.is_last_batch:  # validation and other callbacks' ends of epochs follow
            self._timer.pause()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave validation out."""
        self._timer.pause()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on after validation within an epoch."""
        if not trainer.is_last_batch:
            self._timer.resume()


def _times(pace: Pace) -> dict[str, float]:
    values = {
        "time/images_per_second": pace.images_per_second,
        "time/step": pace.step_seconds,
        "time/data_wait": pace.wait_seconds,
    }
    if pace.remaining_seconds is not None:
        values["time/eta"] = pace.remaining_seconds
    return values


def _memory(device: torch.device) -> dict[str, float]:
    if device.type == "cuda":
        return {"time/peak_memory_mib": torch.cuda.max_memory_allocated(device) / 2**20}
    try:
        import resource
    except ImportError:  # not on Windows
        return {}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 2**10
    return {"time/peak_memory_mib": peak * unit / 2**20}


def _learning_rates(trainer: pl.Trainer) -> dict[str, float]:
    groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
    base = float(groups[0]["lr"]) if groups else 0.0
    named = {str(g.get("name", i)): float(g["lr"]) for i, g in enumerate(groups)}
    return {f"lr/{name}": lr for name, lr in named.items() if lr != base}
