"""Keep the page about the run up to date while it trains."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl

from sslight.reports import RunInputs
from sslight.reports.write import write_quietly
from sslight.strategies import is_trial


class Report(pl.Callback):
    """Write ``report.html`` into the run's folder every n epochs, and at the end of training.

    The page holds what the run's folder holds at that moment (see ``sslight report``). Rank 0
    writes it; training is the same with and without it, and an error in it is a sentence in the
    log. ``sslight fit`` writes the page at its end without this callback too; ``callbacks.report:
    null`` switches that off.

    Args:
        every_n_epochs: Epochs between pages; None for the end of training only.
    """

    def __init__(self, every_n_epochs: int | None = 1) -> None:
        if every_n_epochs is not None and every_n_epochs < 1:
            raise ValueError(
                f"callback report: got every_n_epochs={every_n_epochs}; give a number from 1, or "
                "null for the end of training only."
            )
        self.every_n_epochs = every_n_epochs

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the page after due epochs."""
        if self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._write(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the last page."""
        self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        if trainer.is_global_zero and not is_trial(trainer):
            data = getattr(trainer, "datamodule", None)
            ours = data if hasattr(data, "split_names") else None
            write_quietly(RunInputs(Path(trainer.default_root_dir), ours))
