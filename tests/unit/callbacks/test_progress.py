from __future__ import annotations

import logging
import re
import sys

import pytest
import pytorch_lightning as pl
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sslight.callbacks.progress import Progress


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "sslight")
    return lambda: [r.getMessage() for r in caplog.records if r.name == "sslight"]


@pytest.fixture
def method(kit):
    class Logging(kit.Method):
        def training_step(self, batch, batch_idx):
            output = super().training_step(batch, batch_idx)
            self.log("train/loss", output["loss"])
            self.log("train/lr", torch.tensor(1e-7 / 3, dtype=torch.float64))
            return output

        def validation_step(self, batch, batch_idx):
            self.log("knn/top1", 0.25)
            return super().validation_step(batch, batch_idx)

    return Logging


def test_plain_lines_on_logging_steps(kit, method, tmp_path, lines):
    trainer = kit.trainer(tmp_path, Progress(bar=False), epochs=2, log_every_n_steps=3)
    trainer.fit(method(), datamodule=kit.Data())
    found = lines()
    number = r"[\d.e+-]+"
    assert len(found) == 4  # two training lines, two of validation; the end repeats nothing
    assert re.fullmatch(
        rf"epoch 1/2  step 3/6  loss {number}  lr 3.333e-08  {number} images/s  wait \d+%  "
        r"eta \d+:\d\d:\d\d",
        found[0],
    )
    assert found[1] == "epoch 1/2  step 3  knn/top1 0.25"
    assert "step 6/6" in found[2]
    assert "knn 25.0%" in found[2]
    assert found[2].endswith("eta 0:00:00")
    assert found[3] == "epoch 2/2  step 6  knn/top1 0.25"


def test_every_n_steps(kit, method, tmp_path, lines):
    trainer = kit.trainer(tmp_path, Progress(every_n_steps=4, bar=False), epochs=3)
    trainer.fit(method(), datamodule=kit.Data(test=False))
    assert [re.search(r"step (\d+)/9", line)[1] for line in lines()] == ["4", "8"]


def test_without_logging_set_up_lines_are_printed(kit, method, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    trainer = kit.trainer(tmp_path, Progress(bar=False), epochs=1, log_every_n_steps=3)
    trainer.fit(method(), datamodule=kit.Data())
    assert "epoch 1/1  step 3/3  loss" in capsys.readouterr().err


def test_a_bar_on_a_terminal_and_lines_for_the_file(
    kit, method, tmp_path, caplog, capsys, monkeypatch
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    caplog.set_level(logging.INFO, "sslight")
    progress = Progress()
    trainer = kit.trainer(tmp_path, progress, epochs=2)
    trainer.fit(method(), datamodule=kit.Data())
    assert "6/6" in capsys.readouterr().err
    assert progress._drawn is None
    during = [r for r in caplog.records if "images/s" in r.getMessage()]
    assert len(during) == 6
    assert all(record.file_only for record in during)


def test_the_bar_goes_when_training_fails(kit, method, tmp_path):
    class Fails(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            raise RuntimeError("broken")

    progress = Progress(bar=True)
    with pytest.raises(RuntimeError, match="broken"):
        kit.trainer(tmp_path, progress, Fails()).fit(method(), datamodule=kit.Data())
    assert progress._drawn is None


class HostReads(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_metrics_are_read_on_logging_steps_only(kit, method, tmp_path):
    counts = []
    for callbacks in ([], [Progress(bar=False)], [Progress(bar=True)]):
        options = {"log_every_n_steps": 1000, "epochs": 4}
        trainer = kit.trainer(tmp_path, *callbacks, **options)
        with HostReads() as reads:
            trainer.fit(method(), datamodule=kit.Data(test=False))
        counts.append(reads.count)
    assert counts[0] == counts[1] == counts[2]


def test_refuses():
    with pytest.raises(ValueError, match="every_n_steps=0; give a number from 1"):
        Progress(every_n_steps=0)
