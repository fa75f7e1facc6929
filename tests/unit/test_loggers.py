from __future__ import annotations

import copy
import io
import json
import logging
import math
import pickle
import sys

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from sslight.loggers import JsonlLogger, write_log_file


def rows(logger: JsonlLogger) -> list[dict]:
    return [json.loads(line) for line in logger.path.read_text().splitlines()]


def test_rows_come_in_order_and_at_once(tmp_path):
    logger = JsonlLogger(tmp_path / "run")
    logger.log_metrics({"train/loss": 2.5, "epoch": 0}, step=1)
    assert rows(logger) == [{"step": 1, "train/loss": 2.5, "epoch": 0}]  # without closing the file
    logger.log_metrics({"b": 1.0, "a": 0.1}, step=1)
    assert logger.path.read_text().splitlines()[1] == '{"step": 1, "b": 1.0, "a": 0.1}'


def test_what_is_not_finite_is_null(tmp_path):
    logger = JsonlLogger(tmp_path)
    logger.log_metrics({"a": math.nan, "b": math.inf, "c": torch.tensor(2.0)}, step=3)
    assert rows(logger) == [{"step": 3, "a": None, "b": None, "c": 2.0}]


def test_truncation_keeps_the_rows_up_to_the_step(tmp_path):
    logger = JsonlLogger(tmp_path)
    for step in (0, 1, 2, 2, 3):
        logger.log_metrics({"x": float(step)}, step=step)
    logger.truncate_after(2)
    assert [row["step"] for row in rows(logger)] == [0, 1, 2, 2]
    logger.log_metrics({"x": 9.0}, step=3)
    assert rows(logger)[-1] == {"step": 3, "x": 9.0}
    assert list(tmp_path.iterdir()) == [logger.path]  # no temporary file is left
    logger.truncate_after(-1)
    assert rows(logger) == []


def test_a_torn_last_line_goes(tmp_path):
    logger = JsonlLogger(tmp_path)
    logger.log_metrics({"x": 1.0}, step=1)
    with open(logger.path, "a") as file:
        file.write('{"step": 2, "x"')
    JsonlLogger(tmp_path).truncate_after(5)
    assert rows(logger) == [{"step": 1, "x": 1.0}]
    with open(logger.path, "a") as file:
        file.write('{"step": 2, "x"')
    JsonlLogger(tmp_path).log_metrics({"x": 2.0}, step=2)
    assert rows(logger) == [{"step": 1, "x": 1.0}, {"step": 2, "x": 2.0}]


def test_a_strange_line_is_not_thrown_away(tmp_path):
    logger = JsonlLogger(tmp_path)
    logger.path.write_text('hello\n{"step": 1}\n')
    with pytest.raises(ValueError, match=r"metrics.jsonl.*not a row of metrics.*hello"):
        logger.truncate_after(1)
    assert logger.path.read_text().startswith("hello")


def test_nothing_to_truncate(tmp_path):
    JsonlLogger(tmp_path / "new").truncate_after(3)
    assert not (tmp_path / "new").exists()


def test_can_be_copied_and_pickled_while_open(tmp_path):
    logger = JsonlLogger(tmp_path)
    logger.log_metrics({"x": 1.0}, step=1)
    for twin in (copy.deepcopy(logger), pickle.loads(pickle.dumps(logger))):
        twin.log_metrics({"x": 2.0}, step=2)
        twin.finalize("success")
    assert len(rows(logger)) == 3


class Tiny(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch).square().mean()
        self.log_dict({"train/loss": loss, "step": torch.tensor(self.trainer.global_step + 1.0)})
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val/x", 0.5)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def test_under_a_trainer(tmp_path):
    logger = JsonlLogger(tmp_path)
    trainer = pl.Trainer(
        max_epochs=2, logger=logger, log_every_n_steps=2, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, num_sanity_val_steps=0,
        accelerator="cpu", default_root_dir=tmp_path,
    )  # fmt: skip
    data = torch.randn(4, 2)
    trainer.fit(Tiny(), DataLoader(data, 1), DataLoader(data, 2))
    found = [(row["step"], sorted(set(row) - {"step"})) for row in rows(logger)]
    assert found == [
        (2, ["train/loss"]), (4, ["train/loss"]), (3, ["epoch", "val/x"]),
        (6, ["train/loss"]), (8, ["train/loss"]), (7, ["epoch", "val/x"]),
    ]  # fmt: skip


@pytest.fixture
def quiet_root(monkeypatch):
    """Call it to leave no handlers but ours; pytest adds its own after the fixtures."""

    def silence() -> None:
        for logger in (logging.getLogger(), logging.getLogger("sslight")):
            monkeypatch.setattr(logger, "handlers", [])

    return silence


def test_log_file_collects_and_lets_go(tmp_path, quiet_root, monkeypatch):
    quiet_root()
    ours, theirs = logging.getLogger("sslight"), logging.getLogger("pytorch_lightning")
    before = (ours.level, list(ours.handlers), list(theirs.handlers))
    screen = io.StringIO()
    with write_log_file(tmp_path / "run") as path:
        monkeypatch.setattr(sys, "stderr", screen)  # as a progress bar does, later
        ours.info("a line")
        logging.getLogger("sslight.data").info("a child's line")
        ours.info("for the file", extra={"file_only": True})
        theirs.warning("lightning speaks")
    ours.warning("after")
    assert (ours.level, ours.handlers, theirs.handlers) == before
    lines = path.read_text().splitlines()
    assert [line.split(" ", 3)[2:] for line in lines] == [
        ["INFO", "a line"],
        ["INFO", "a child's line"],
        ["INFO", "for the file"],
        ["WARNING", "lightning speaks"],
    ]
    assert screen.getvalue().startswith("a line\na child's line\n")
    assert "for the file" not in screen.getvalue()


def test_log_file_is_appended_to_and_closed_on_errors(tmp_path, quiet_root):
    quiet_root()
    ours = logging.getLogger("sslight")
    with write_log_file(tmp_path):
        ours.info("first")
    with pytest.raises(RuntimeError), write_log_file(tmp_path) as path:  # noqa: PT012
        ours.info("second")
        raise RuntimeError
    assert ours.handlers == []
    assert [line.split()[-1] for line in path.read_text().splitlines()] == ["first", "second"]


def test_users_own_handlers_keep_the_screen(tmp_path, quiet_root, capsys):
    quiet_root()
    handler = logging.StreamHandler(io.StringIO())
    ours = logging.getLogger("sslight")
    ours.addHandler(handler)
    try:
        with write_log_file(tmp_path):
            ours.info("hello")
    finally:
        ours.removeHandler(handler)
    assert handler.stream.getvalue() == "hello\n"
    assert "hello" not in capsys.readouterr().err


def test_other_ranks_write_no_file(tmp_path, quiet_root, monkeypatch, capsys):
    quiet_root()
    from pytorch_lightning.utilities import rank_zero_only

    monkeypatch.setattr(rank_zero_only, "rank", 1)
    with write_log_file(tmp_path / "run"):
        logging.getLogger("sslight").info("quiet")
        logging.getLogger("sslight").warning("heard")
    assert not (tmp_path / "run").exists()
    assert capsys.readouterr().err == "heard\n"
    JsonlLogger(tmp_path / "run").log_metrics({"x": 1.0}, step=1)
    assert not (tmp_path / "run").exists()
