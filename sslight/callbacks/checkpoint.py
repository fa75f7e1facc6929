"""Checkpoints at step boundaries, from which a run goes on bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint as LightningCheckpoint

from sslight.callbacks._common import say
from sslight.strategies import StopSignal, is_accumulating, rewind_fetched_batch, settle_epoch

#: Beginnings of names that are measured on the test split.
_ON_TEST = ("knn/", "val/", "probe/val")


class Checkpoint(LightningCheckpoint):
    """Save the whole state of training every n steps or epochs, and when a signal asks to stop.

    A checkpoint of step k is written when step k's row is in the logs and the validation due
    after it is done: just before the next batch is trained on, or at the end of the epoch. So
    nothing that belongs to step k is missing from a run that goes on from it. The last N stay, and
    the best one if a metric is monitored. On SIGTERM, SIGINT or SIGUSR1 (SLURM) to any rank, all
    ranks save at the same step and leave with 128 + signal; a signal that comes during validation
    waits for its end.

    Args:
        every_n_steps: Optimizer steps between checkpoints; None for none within an epoch.
        every_n_epochs: Epochs between checkpoints; None for the end of training only.
        keep_last: Number of newest checkpoints to keep.
        monitor: Name of a logged metric (``knn/top1``); its best checkpoint is kept too.
        mode: Whether ``max`` or ``min`` of the monitored metric is best.
        folder: Where to write; by default ``checkpoints`` in the run's folder.
    """

    def __init__(
        self,
        every_n_steps: int | None = None,
        every_n_epochs: int | None = 1,
        keep_last: int = 2,
        monitor: str | None = None,
        mode: Literal["max", "min"] = "max",
        folder: Path | None = None,
    ) -> None:
        for name, value in (("every_n_steps", every_n_steps), ("every_n_epochs", every_n_epochs)):
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; give a number from 1, or null to switch off.")
        if keep_last < 1:
            raise ValueError(f"keep_last is {keep_last}; at least one checkpoint must stay.")
        self.every_n_steps = every_n_steps
        self.every_n_epochs = every_n_epochs
        self.keep_last = keep_last
        self.monitor = monitor
        self.sign = 1.0 if mode == "max" else -1.0
        self.folder = folder
        self.extra: dict[str, Any] = {}  # stored beside the state: what the run was made from
        self.how_to_continue = "Fit with ckpt_path=<the newest checkpoint> to continue."
        self.best_value: float | None = None
        self.best_step: int | None = None
        self._stop = StopSignal()
        self._stepped = False  # the previous batch ended an optimizer step
        self._moment: Literal["batch", "epoch"] | None = None  # between two of which we are saving

    # ---------------------------------------------------------------- when

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take over the signals; say where the best checkpoint is chosen on test images."""
        self._stop.install()
        if self.monitor and self.monitor.startswith(_ON_TEST):
            say(
                trainer,
                f"checkpoint: the best one is chosen by {self.monitor}, which is measured on the "
                "test split, so its accuracy there is flattered. For an honest choice give a split "
                "of its own: data.splits.val, callbacks.knn.split=val, monitor=knn_val/top1.",
            )

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Save what fell due with the previous step."""
        stepped, self._stepped = self._stepped, False
        if not stepped or batch_idx == 0:
            return
        due = self.every_n_steps and trainer.global_step % self.every_n_steps == 0
        number = self._stop.agreed()
        if due or number:
            self._save(trainer, "batch")
        if number:
            self._stop.leave(number, trainer, self.how_to_continue)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Note whether this batch ended an optimizer step: only there may a checkpoint stand."""
        self._stepped = not is_accumulating(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save at the epoch's end, after its validation and the other callbacks' hooks."""
        epoch = trainer.current_epoch + 1
        number = self._stop.agreed()
        due_epoch = self.every_n_epochs and epoch % self.every_n_epochs == 0
        due_step = self.every_n_steps and trainer.global_step % self.every_n_steps == 0
        if due_epoch or due_step or number or _is_last(trainer):
            self._save(trainer, "epoch")
        if number and not _is_last(trainer):
            self._stop.leave(number, trainer, self.how_to_continue)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the signals back; say if nothing was ever measured under the monitored name."""
        self._stop.restore()
        if self.monitor and self.best_value is None:
            logged = ", ".join(sorted(trainer.callback_metrics)) or "nothing"
            say(
                trainer,
                f"checkpoint: monitor is {self.monitor!r}, which was never logged, so no best "
                f"checkpoint was kept. Logged were: {logged}.",
            )

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Give the signals back; an exception saves nothing, its step is not whole."""
        self._stop.restore()

    # ---------------------------------------------------------------- what

    def _save(self, trainer: pl.Trainer, moment: Literal["batch", "epoch"]) -> None:
        folder = Path(self.folder or Path(trainer.default_root_dir) / "checkpoints")
        self._note_best(trainer)
        self._moment = moment
        trainer.save_checkpoint(folder / checkpoint_name(trainer.global_step), weights_only=False)
        self._moment = None
        if trainer.is_global_zero:
            self._prune(folder)

    def _note_best(self, trainer: pl.Trainer) -> None:
        value = trainer.callback_metrics.get(self.monitor) if self.monitor else None
        if value is None:
            return
        score = float(value)
        if self.best_value is None or self.sign * score > self.sign * self.best_value:
            self.best_value, self.best_step = score, trainer.global_step

    def _prune(self, folder: Path) -> None:
        files = checkpoints(folder)
        best = None if self.best_step is None else folder / checkpoint_name(self.best_step)
        for path in files[: -self.keep_last]:
            if path != best:
                path.unlink()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what the run was made from, and put the loop's counters on the boundary."""
        checkpoint["sslight"] = dict(self.extra)
        if self._moment == "batch":
            rewind_fetched_batch(checkpoint)
        elif self._moment == "epoch":
            settle_epoch(trainer, checkpoint)

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far and its step."""
        return {"best_value": self.best_value, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the best value so far and its step."""
        self.best_value, self.best_step = state_dict["best_value"], state_dict["best_step"]


def checkpoint_name(step: int) -> str:
    """Return the file name of a checkpoint after ``step`` optimizer steps."""
    return f"step_{step:09d}.ckpt"


def checkpoints(folder: Path) -> list[Path]:
    """Return the whole checkpoints of a folder, oldest first."""
    return sorted(folder.glob("step_*.ckpt"))


def _is_last(trainer: pl.Trainer) -> bool:
    steps_left = trainer.max_steps == -1 or trainer.global_step < trainer.max_steps
    epochs_left = trainer.max_epochs == -1 or trainer.current_epoch + 1 < (trainer.max_epochs or 0)
    return trainer.should_stop or not steps_left or not epochs_left
