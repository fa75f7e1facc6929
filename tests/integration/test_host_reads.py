"""Between logging steps a whole fit makes the host wait no more often than bare Lightning does."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import tiny
import torch
from tiny import METHODS
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import sslight
from sslight import config
from sslight.augment import pixels
from sslight.augment.presets import PRESETS
from sslight.augment.views import make_views

STEPS, EVERY = 12, 5

CONFIG = """
_base_: [_base_/pretrain]
method: {method}
backbone: {backbone}
data:
  train: {{name: shapes, num_images: 96, size: 16}}
  views: {views}
  batch_size: 8
  workers: 1   # decoding is not the training process's work
optim: {{optimizer: sgd, lr: 0.05, weight_decay: 1.0e-4, warmup_epochs: 0.5}}
trainer: {{max_epochs: 1, log_every_n_steps: 5, accelerator: cpu}}
"""


class Reads(TorchDispatchMode):
    """Counts operations whose result the host waits for."""

    names = ("aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::is_nonzero")

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.counts = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += self.counts and func.name().split(".")[0] in self.names
        return func(*args, **(kwargs or {}))


def not_counted(reads: Reads, function: Callable[..., Any]) -> Callable[..., Any]:
    def inner(*args: Any) -> Any:
        reads.counts = False
        try:
            return function(*args)
        finally:
            reads.counts = True

    return inner


class Steps(pl.Callback):
    """Splits the count into steps, each from the start of its batch to the start of the next."""

    def __init__(self, reads: Reads) -> None:
        self.reads, self.at = reads, []

    def on_train_batch_start(self, *_: Any) -> None:
        self.at.append(self.reads.count)

    def by_step(self) -> dict[int, int]:
        return {i + 1: b - a for i, (a, b) in enumerate(zip(self.at, self.at[1:], strict=False))}


class Reader(pl.Callback):
    """Mutant: looks at the loss at every step."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        outputs["loss"].item()


def reads_of_sslight(folder: Path, name: str, *callbacks: pl.Callback) -> dict[int, int]:
    file = folder / "all.yaml"
    cls = tiny.method_class(name)
    nodes = {
        "method": {"name": name, **tiny.sizes(name)},
        "backbone": tiny.VIT if cls.needs_tokens else tiny.RESNET,
        "views": {"name": cls.default_views, **tiny.view_sizes(cls.default_views)},
    }
    file.write_text(CONFIG.format(**{key: json.dumps(node) for key, node in nodes.items()}))
    with Reads() as reads, pytest.MonkeyPatch.context() as patch:
        # On a CPU, where nobody waits, views find their rows here; for a device workers find them.
        patch.setattr(pixels, "affected_rows", not_counted(reads, pixels.affected_rows))
        # What a method does between epochs may read.
        patch.setattr(cls, "before_epoch", not_counted(reads, cls.before_epoch))
        steps = Steps(reads)
        result = sslight.fit(file, [f"run_dir={folder / 'run'}"], callbacks=[*callbacks, steps])
    kinds = {type(callback).__name__ for callback in result.trainer.callbacks}
    named = config.load("_base_/pretrain")["callbacks"]
    assert len(named) >= 6
    assert len(kinds) >= len(named) + 1
    assert result.trainer.global_step == STEPS == len(steps.at)
    return steps.by_step()


class Bare(pl.LightningModule):
    """As little as Lightning allows."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 4)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self.net(batch).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)


@pytest.fixture(scope="module")
def bare() -> dict[int, int]:
    with Reads() as reads:
        steps = Steps(reads)
        trainer = tiny.trainer(steps, log_every_n_steps=EVERY)
        trainer.fit(Bare(), torch.utils.data.DataLoader(torch.randn(96, 4), 8))
    return steps.by_step()


def silent(by_step: dict[int, int]) -> dict[int, int]:
    """The steps that end without a row in the logs."""
    return {step: count for step, count in by_step.items() if step % EVERY}


@pytest.mark.parametrize("name", METHODS)
def test_no_more_reads_than_lightnings(tmp_path: Path, bare: dict[int, int], name: str):
    ours = reads_of_sslight(tmp_path, name)
    assert len(ours) == len(bare) == STEPS - 1
    assert silent(ours) == silent(bare)
    assert ours[EVERY] > bare[EVERY], "nothing was read on a logging step: is anything counted?"


def test_a_read_would_be_noticed(tmp_path: Path, bare: dict[int, int]):
    ours = reads_of_sslight(tmp_path, METHODS[0], Reader())
    assert all(count > silent(bare)[step] for step, count in silent(ours).items())


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_on_a_device_augmentation_reads_nothing(preset: str, monkeypatch):
    """The meta device has no values to read: whatever asked for one would raise."""
    maker = make_views(PRESETS[preset](**tiny.view_sizes(preset)), seed=0)
    images = [torch.randint(256, (3, 20, 20), dtype=torch.uint8) for _ in range(6)]
    raw = on_meta(maker.fetch(images, 0, torch.arange(6)))
    assert any(torch.is_tensor(value) for value in raw["params"][0].values())
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())  # knows no meta
    views = maker.apply(raw)["views"]
    assert {(view.device.type, view.dtype) for view in views} == {("meta", torch.float32)}


def on_meta(value: Any) -> Any:
    if torch.is_tensor(value):
        return value.to("meta")
    if isinstance(value, dict):
        return {key: on_meta(entry) for key, entry in value.items()}
    return [on_meta(entry) for entry in value] if isinstance(value, list) else value
