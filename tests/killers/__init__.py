"""Callbacks that end the process at a chosen moment, named in configs by the kill tests."""

import os
import signal
from typing import Any

from pytorch_lightning import Callback


class KillAt(Callback):
    """Send this process a signal at a moment of training.

    Args:
        where: batch_start, batch_end, within_window (of accumulation), validation, save (between
            writing and renaming) or epoch_end.
        step: Optimizer steps done at that moment (for save: how many saves were done).
        number: The signal.
        rank: The rank that gets it; None for all.
    """

    def __init__(
        self, where: str, step: int, number: int = signal.SIGKILL, rank: int | None = None
    ) -> None:
        self.where = where
        self.step = step
        self.number = number
        self.rank = rank
        self.saves = 0

    def _strike(self, where: str, step: int) -> None:
        mine = self.rank is None or self.rank == int(os.environ.get("LOCAL_RANK", 0))
        if mine and where == self.where and step == self.step:
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
        if trainer.fit_loop._should_accumulate():
            self._strike("within_window", trainer.global_step)

    def on_validation_batch_start(self, trainer: Any, *args: Any) -> None:
        self._strike("validation", trainer.global_step)

    def on_train_epoch_end(self, trainer: Any, *args: Any) -> None:
        self._strike("epoch_end", trainer.global_step)
