from __future__ import annotations

import json
import time

import pytest
import pytorch_lightning as pl
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sslight.callbacks._timer import StepTimer, count_images
from sslight.callbacks.throughput import Throughput
from sslight.loggers import JsonlLogger


class Slow(pl.Callback):
    """Makes the chosen moments take 0.1 s."""

    def __init__(self, *moments: str) -> None:
        for moment in moments:
            setattr(self, moment, lambda *args, **kwargs: time.sleep(0.1))


def rows(folder) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if "time/step" in row]


def fit(kit, folder, *callbacks, module=None, **options) -> list[dict]:
    trainer = kit.trainer(folder, *callbacks, logger=JsonlLogger(folder), **options)
    trainer.fit(module or kit.Method(), datamodule=kit.Data())
    return rows(folder)


def test_a_row_per_logging_step(kit, tmp_path):
    found = fit(kit, tmp_path, Throughput(), epochs=2)
    assert len(found) == 6
    for row in found:
        assert {k for k in row if k.startswith("time/")} == {
            "time/images_per_second", "time/step", "time/data_wait", "time/eta",
            "time/peak_memory_mib",
        }  # fmt: skip
        assert row["time/images_per_second"] * row["time/step"] == pytest.approx(8)
        assert 0 < row["time/data_wait"] < row["time/step"]
        assert row["time/peak_memory_mib"] > 50
    assert found[-1]["time/eta"] == 0.0
    assert found[0]["time/eta"] > 0.0


def test_accumulation_counts_steps_not_batches(kit, tmp_path):
    found = fit(kit, tmp_path, Throughput(), epochs=1, accumulate_grad_batches=3)
    assert len(found) == 1
    assert found[0]["time/images_per_second"] * found[0]["time/step"] == pytest.approx(24)


def test_a_slow_step_is_step_time(kit, tmp_path):
    found = fit(kit, tmp_path, Throughput(), Slow("on_after_backward"), epochs=1)
    assert all(row["time/step"] > 0.1 for row in found)
    assert all(row["time/data_wait"] < 0.1 for row in found)


def test_slow_data_is_waited_for(kit, tmp_path):
    class Late(kit.Data):
        def on_before_batch_transfer(self, batch, dataloader_idx):
            time.sleep(0.1 if self.trainer.training else 0.0)
            return batch

    trainer = kit.trainer(tmp_path, Throughput(), logger=JsonlLogger(tmp_path), epochs=1)
    trainer.fit(kit.Method(), datamodule=Late())
    assert all(row["time/data_wait"] > 0.1 for row in rows(tmp_path))


@pytest.mark.parametrize(
    "moment", ["on_validation_epoch_end", "on_train_epoch_end", "on_validation_batch_end"]
)
@pytest.mark.parametrize("first", [True, False])
def test_pauses_are_left_out(kit, tmp_path, moment, first):
    callbacks = [Throughput(), Slow(moment)] if first else [Slow(moment), Throughput()]
    found = fit(kit, tmp_path, *callbacks, epochs=3)
    assert all(row["time/step"] < 0.1 for row in found[1:])
    assert found[3]["time/eta"] > 0.05  # but the remaining epochs will have them again


def test_validation_within_an_epoch_is_left_out(kit, tmp_path):
    slow = Slow("on_validation_epoch_end")
    found = fit(kit, tmp_path, Throughput(), slow, epochs=1, val_check_interval=1)
    assert all(row["time/step"] < 0.1 for row in found[1:])


def test_learning_rates_of_other_groups_in_full_precision(kit, tmp_path):
    class Two(kit.Method):
        def configure_optimizers(self):
            groups = [
                {"params": [self.backbone[0].weight], "lr": 1e-7 / 3, "name": "backbone"},
                {"params": [self.backbone[0].bias], "lr": 1e-7 / 3, "name": "bias"},
                {"params": self.backbone[1].parameters(), "lr": 2e-7 / 3, "name": "head"},
            ]
            return torch.optim.SGD(groups)

    found = fit(kit, tmp_path, Throughput(), module=Two(), epochs=1)
    assert {k: v for k, v in found[0].items() if k.startswith("lr/")} == {"lr/head": 2e-7 / 3}


class HostReads(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_it_reads_nothing_from_the_device(kit, tmp_path):
    counts = []
    for callbacks in ([], [Throughput()]):
        trainer = kit.trainer(tmp_path, *callbacks, log_every_n_steps=1000, epochs=4)
        with HostReads() as reads:
            trainer.fit(kit.Method(), datamodule=kit.Data())
        counts.append(reads.count)
    assert counts[0] == counts[1]


def test_count_images():
    assert count_images({"label": torch.zeros(0), "index": torch.zeros(5)}) == 5
    assert count_images({"views": [torch.zeros(4, 3), torch.zeros(8, 3)]}) == 4
    assert count_images([torch.zeros(3, 2), torch.zeros(3)]) == 3
    assert count_images(torch.zeros(7, 1)) == 7
    assert count_images({"n": 3}) == 0


def test_without_a_step_there_is_no_pace():
    assert StepTimer().read(None) is None
