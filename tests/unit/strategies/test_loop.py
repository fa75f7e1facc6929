"""Lightning's private counters mean what sslight takes them for.

Written against pytorch-lightning 2.6.6. If this fails after an upgrade, look at strategies/loop.py.
"""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from sslight.strategies import (
    batches_done,
    is_accumulating,
    is_logging_step,
    loader_position,
    rewind_fetched_batch,
    settle_epoch,
)


class Recorder(pl.LightningModule):
    """A linear model that notes what the helpers say at each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.seen: list[tuple[Any, ...]] = []
        self.states: list[dict[str, Any]] = []

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        trainer = self.trainer
        self.seen.append(
            (batches_done(trainer), is_accumulating(trainer), is_logging_step(trainer))
        )
        return self.layer(batch).mean()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        if batch_idx == 2:
            state = {"loops": {"fit_loop": self.trainer.fit_loop.state_dict()}}
            rewind_fetched_batch(state)
            self.states.append(state["loops"]["fit_loop"])

    def on_train_epoch_end(self) -> None:
        state = {"loops": {"fit_loop": self.trainer.fit_loop.state_dict()}}
        settle_epoch(self.trainer, state)
        self.states.append(state["loops"]["fit_loop"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class PlainLoader:
    """Notes the position at the first batch of each epoch."""

    def __init__(self) -> None:
        self.positions: list[tuple[int, int]] = []
        self.trainer: pl.Trainer | None = None

    def __len__(self) -> int:
        return 4

    def __iter__(self) -> Any:
        assert self.trainer is not None
        self.positions.append(loader_position(self.trainer))
        yield from DataLoader(torch.ones(8, 2), batch_size=2)


def fitted() -> tuple[Recorder, PlainLoader]:
    module, loader = Recorder(), PlainLoader()
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        accumulate_grad_batches=2,
        log_every_n_steps=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader.trainer = trainer
    trainer.fit(module, train_dataloaders=loader)
    return module, loader


def test_counters() -> None:
    module, loader = fitted()
    assert [done for done, _, _ in module.seen] == list(range(8))
    assert [accumulating for _, accumulating, _ in module.seen] == [True, False] * 4
    assert [logs for _, _, logs in module.seen] == [False, False, False, True] * 2
    assert loader.positions == [(0, 0), (1, 0)]


def test_checkpoints_stand_between_batches_and_between_epochs() -> None:
    module, _ = fitted()
    within, end, *_ = module.states
    assert set(within["epoch_loop.batch_progress"]["current"].values()) == {2}
    assert set(within["epoch_loop.batch_progress"]["total"].values()) == {2}
    assert set(end["epoch_loop.batch_progress"]["current"].values()) == {0}
    assert set(end["epoch_loop.batch_progress"]["total"].values()) == {4}
    assert set(end["epoch_progress"]["current"].values()) == {1}
