"""What a person sees while training: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl

from sslight.callbacks._timer import Pace, StepTimer, total_steps
from sslight.strategies import is_logging_step
from sslight.utils import logger

#: Beginnings of metrics that the line after a validation leaves out: no results, or noisy ones.
_NO_RESULTS = ("train/", "time/", "lr/", "collapse/", "probe/loss", "step", "epoch")
#: Metrics shown beside the speed, where they exist, and their short names.
_SHOWN = {"train/loss": "loss", "train/lr": "lr", "knn/top1": "knn", "probe/top1": "probe"}


class Progress(pl.Callback):
    """Show epoch, step, loss, learning rate, images/s, data wait, time left and the last kNN.

    On a terminal a bar follows every step; its numbers change on logging steps
    (``trainer.log_every_n_steps``), the only ones on which metrics are read from the device. In
    both cases log.txt gets a line, which without a terminal also goes to stderr. Rank 0 only. Under
    a plain ``Trainer`` pass ``enable_progress_bar=False`` to have one bar, not two.

    Args:
        every_n_steps: Steps between lines; they come on logging steps, so at least
            ``log_every_n_steps``. None for each logging step.
        bar: Whether to draw a bar; None for "if stderr is a terminal".
    """

    def __init__(self, every_n_steps: int | None = None, bar: bool | None = None) -> None:
        if every_n_steps is not None and every_n_steps < 1:
            raise ValueError(
                f"callback progress: got every_n_steps={every_n_steps}; give a number from 1, or "
                "null for every logging step."
            )
        self.every_n_steps = every_n_steps
        self.bar = bar
        self._timer = StepTimer()
        self._drawn: Any = None
        self._task: Any = None
        self._said_at = 0
        self._results = ""

    # ---------------------------------------------------------------- hooks

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the bar."""
        self._timer.start()
        self._said_at = trainer.global_step
        self._results = ""
        wanted = sys.stderr.isatty() if self.bar is None else self.bar
        if wanted and trainer.is_global_zero:
            self._draw(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on after the work between epochs."""
        self._timer.resume()
        self._describe(_epoch(trainer))

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
        """Move the bar; show the numbers on logging steps."""
        self._timer.batch_end(trainer, batch)
        if self._drawn is not None:
            self._drawn.update(self._task, completed=trainer.global_step)
        pace = self._timer.read(trainer) if is_logging_step(trainer) else None
        if pace is not None and trainer.is_global_zero:
            self._show(trainer, pace)
        if trainer.is_last_batch:
            self._timer.pause()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say that this is not training."""
        self._timer.pause()
        self._describe(f"{_epoch(trainer)} validation")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show what validation found."""
        if not trainer.is_last_batch:
            self._timer.resume()
        self._describe(_epoch(trainer))
        if trainer.is_global_zero and trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._say_results(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove the bar and show the last results."""
        self._stop()
        if trainer.is_global_zero:
            self._say_results(trainer)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Give the terminal back."""
        self._stop()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give the terminal back."""
        self._stop()

    # ---------------------------------------------------------------- the bar and the lines

    def _draw(self, trainer: pl.Trainer) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bar
        from rich.table import Column

        # On a narrow terminal the numbers take a second line; the rest stays whole.
        columns = (
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=12, table_column=Column(no_wrap=True)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[numbers]}", table_column=Column(no_wrap=False)),
        )
        self._drawn = Bar(*columns, console=Console(stderr=True), refresh_per_second=5)
        self._task = self._drawn.add_task(
            _epoch(trainer), total=total_steps(trainer), completed=trainer.global_step, numbers=""
        )
        self._drawn.start()

    def _describe(self, text: str) -> None:
        if self._drawn is not None:
            self._drawn.update(self._task, description=text)

    def _stop(self) -> None:
        if self._drawn is not None:
            self._drawn.stop()
            self._drawn = None

    def _show(self, trainer: pl.Trainer, pace: Pace) -> None:
        numbers = "  ".join([*_metrics(trainer), *_speed(pace)])
        if self._drawn is not None:
            self._drawn.update(self._task, completed=trainer.global_step, numbers=numbers)
        step, total = trainer.global_step, total_steps(trainer)
        if step - self._said_at < (self.every_n_steps or 1):
            return
        self._said_at = step
        self._say(f"{_epoch(trainer)}  step {step}{f'/{total}' if total else ''}  {numbers}")

    def _say_results(self, trainer: pl.Trainer) -> None:
        """One line with what was measured of the features."""
        found = [
            f"{name} {float(value):.4g}"
            for name, value in trainer.callback_metrics.items()
            if not name.startswith(_NO_RESULTS)
        ]
        line = f"{_epoch(trainer)}  step {trainer.global_step}  {'  '.join(found)}"
        if found and line != self._results:
            self._results = line
            self._say(line)

    def _say(self, line: str) -> None:
        if self._drawn is not None:
            logger.info(line, extra={"file_only": True})
        elif logger.isEnabledFor(logging.INFO) and logger.hasHandlers():
            logger.info(line)
        else:  # a plain Trainer in a script: nobody set up logging
            print(line, file=sys.stderr, flush=True)


def _epoch(trainer: pl.Trainer) -> str:
    last = trainer.max_epochs
    number = (
        min(trainer.current_epoch + 1, last) if last and last > 0 else trainer.current_epoch + 1
    )
    return f"epoch {number}/{last}" if last and last > 0 else f"epoch {number}"


def _metrics(trainer: pl.Trainer) -> list[str]:
    found = trainer.callback_metrics
    return [f"{word} {_short(key, found[key])}" for key, word in _SHOWN.items() if key in found]


def _short(name: str, value: Any) -> str:
    """Accuracies in per cent, other values with as many digits as tell something."""
    return f"{100 * float(value):.1f}%" if name.endswith("/top1") else f"{float(value):.4g}"


def _speed(pace: Pace) -> list[str]:
    share = pace.wait_seconds / pace.step_seconds
    texts = [f"{pace.images_per_second:.4g} images/s", f"wait {share:.0%}"]
    if pace.remaining_seconds is not None:
        texts.append(f"eta {timedelta(seconds=round(pace.remaining_seconds))}")
    return texts
