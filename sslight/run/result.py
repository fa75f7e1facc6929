"""What ``fit`` returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl

from sslight.data.datamodule import SSLDataModule
from sslight.module import SSLModule
from sslight.run.summary import in_words, last_metrics


@dataclass(repr=False)
class FitResult:
    """What a run leaves behind.

    Attributes:
        method: The trained method.
        data: Its data module.
        trainer: The Trainer, with ``callback_metrics``.
        run_dir: Folder with config, checkpoints, logs and ``backbone.safetensors``.
    """

    method: SSLModule
    data: SSLDataModule
    trainer: pl.Trainer
    run_dir: Path

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each logged metric."""
        return last_metrics(self.trainer)

    def __fspath__(self) -> str:
        """The run's folder: the result may be given wherever a run is asked for."""
        return str(self.run_dir)

    def __repr__(self) -> str:
        said = in_words(self.metrics) or "no metrics"
        step, method = self.trainer.global_step, type(self.method).__name__
        return f"FitResult({method} in {self.run_dir}, after step {step}: {said})"
