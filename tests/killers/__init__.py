"""Callbacks that end the process at a chosen moment, named in configs by the kill tests."""

import os
import signal
from typing import Any

from pytorch_lightning import Callback


class KillAt(Callback):
    """Send this process a signal at a moment of training.

    Args:
        where: batch_start, batch_end, validation, save (between writing and renaming) or epoch_end.
        step: Optimizer steps done at that moment (for save: how many saves were done).
        number: The signal.
    """

    def __init__(self, where: str, step: int, number: int = signal.SIGKILL) -> None:
        self.where = where
        self.step = step
        self.number = number
        self.saves = 0

    def _strike(self, where: str, step: int) -> None:
        if where == self.where and step == self.step:
            os.kill(os.getpid(), self.number)

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if self.where == "save":
            from sslight.strategies import checkpoint_io

            real = os.replace

            class Os:
                fsync = staticmethod(os.fsync)

                @staticmethod
                def replace(a: Any, b: Any) -> None:
                    self._strike("save", self.saves)
                    self.saves += 1
                    real(a, b)

            checkpoint_io.os = Os  # type: ignore[assignment]

    def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
        self._strike("batch_start", trainer.global_step)

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        self._strike("batch_end", trainer.global_step)

    def on_validation_batch_start(self, trainer: Any, *args: Any) -> None:
        self._strike("validation", trainer.global_step)

    def on_train_epoch_end(self, trainer: Any, *args: Any) -> None:
        self._strike("epoch_end", trainer.global_step)
