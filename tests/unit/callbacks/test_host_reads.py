"""Between logging steps no callback makes the host wait for the device."""

import pytest
import pytorch_lightning as pl
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sslight.callbacks.collapse import Collapse
from sslight.callbacks.ema_weights import EmaWeights
from sslight.callbacks.knn import KNN
from sslight.callbacks.linear_probe import LinearProbe
from sslight.callbacks.nan_guard import NanGuard
from sslight.callbacks.view_grid import ViewGrid

READS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::is_nonzero"}


class Reads(TorchDispatchMode):
    """Counts operations whose result the host waits for."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.name().split(".")[0] in READS
        return func(*args, **(kwargs or {}))


class Loop(pl.Callback):
    """Runs another callback's batch hooks under the counter, step by step."""

    def __init__(self, inner):
        self.inner, self.by_step = inner, {}

    def __getattribute__(self, name):
        if name.startswith(("on_", "setup")) and not name.startswith("on_train_batch"):
            return getattr(object.__getattribute__(self, "inner"), name)
        return object.__getattribute__(self, name)

    def _counted(self, hook, trainer, *args):
        step = trainer.fit_loop.epoch_loop.total_batch_idx + 1
        with Reads() as reads:
            getattr(self.inner, hook)(trainer, *args)
        self.by_step[step] = self.by_step.get(step, 0) + reads.count

    def on_train_batch_start(self, trainer, pl_module, *args):
        self._counted("on_train_batch_start", trainer, pl_module, *args)

    def on_train_batch_end(self, trainer, pl_module, *args):
        self._counted("on_train_batch_end", trainer, pl_module, *args)


class Reader(pl.Callback):
    """Mutant: looks at the loss at every step."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        outputs["loss"].item()


def count(kit, folder, callback):
    loop = Loop(callback)
    trainer = kit.trainer(folder, loop, epochs=1, log_every_n_steps=6, limit_val_batches=0)
    trainer.fit(kit.Method(), kit.Data(n=96))
    assert len(loop.by_step) == 12
    return loop.by_step


@pytest.mark.parametrize(
    "callback",
    [
        lambda: LinearProbe(),
        lambda: Collapse(buffer=64),
        lambda: NanGuard(),
        lambda: EmaWeights(),
        lambda: KNN(k=3),
        lambda: ViewGrid(),
    ],
)
def test_no_host_read_between_logging_steps(kit, tmp_path, monkeypatch, callback):
    monkeypatch.setattr("sslight.checkpoints.save_backbone", lambda *a, **k: None)
    monkeypatch.setattr(
        "sslight.callbacks.view_grid.draw_grid", lambda *a: torch.zeros(3, 2, 2).byte()
    )
    callback = callback()
    by_step = count(kit, tmp_path, callback)
    assert not getattr(callback, "off", False)
    assert [step for step, reads in by_step.items() if reads and step not in (6, 12)] == []


def test_collapse_reads_on_logging_steps(kit, tmp_path):
    by_step = count(kit, tmp_path, Collapse(buffer=64))
    assert by_step[6] > 0
    assert by_step[12] > 0


def test_the_counter_sees_a_read(kit, tmp_path):
    assert all(count(kit, tmp_path, Reader()).values())
