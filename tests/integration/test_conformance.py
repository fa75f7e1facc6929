"""What every method must do. Methods and configs are discovered, never listed."""

from __future__ import annotations

import copy
import inspect
import logging
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import tiny
import torch
from tiny import METHODS
from torch import nn

from sslight import config, registry
from sslight.augment.presets import PRESETS
from sslight.callbacks.checkpoint import Checkpoint
from sslight.callbacks.collapse import Collapse
from sslight.module import SSLModule
from sslight.modules.ema import EMA
from sslight.strategies import AtomicCheckpointIO
from sslight.train_steps import get_train_step

REPOSITORY = Path(__file__).parents[2]
CONFIGS = sorted((REPOSITORY / "configs").rglob("*.yaml"))

every_method = pytest.mark.parametrize("name", METHODS)


def test_every_file_is_a_method():
    assert len(METHODS) >= 3
    assert tiny.METHOD_FILES == METHODS


# ------------------------------------------------------------------ building


@every_method
def test_it_builds_from_its_signature(name: str):
    method = tiny.build(name)
    assert isinstance(method, SSLModule)
    assert method.default_views in PRESETS
    assert "views" in method.needs
    assert method.accumulation in ("exact", "approximate")
    assert "arXiv" in (type(method).__doc__ or "") or name == "supervised"
    parameters = registry.signature("method", type(method))
    for parameter in parameters.values():
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, parameter
        assert parameter.default is not inspect.Parameter.empty, parameter
        assert parameter.annotation is not Any, f"{parameter} cannot be checked"
        assert parameter.name in (type(method).__doc__ or ""), f"{parameter} is not documented"


@every_method
def test_it_builds_from_a_config(name: str):
    tree = {"name": name}
    method = config.build("method", tree, backbone=tiny.backbone_of(name)(), optim=None)
    assert type(method) is tiny.method_class(name)


# ------------------------------------------------------------------ training


def teachers(method: nn.Module) -> list[EMA]:
    return [module for module in method.modules() if isinstance(module, EMA)]


@every_method
def test_every_trainable_parameter_learns_and_no_other(name: str):
    watch, method = tiny.Watch(), tiny.build(name)
    before = [tiny.snapshot(ema.teacher) for ema in teachers(method)]
    tiny.fit(method, name, watch, precision="64-true")  # a small move must not be rounded away
    assert len(watch.gradients) == 2
    assert all(math.isfinite(loss) for loss in watch.losses)
    parameters = dict(method.named_parameters())
    for grads in watch.gradients:
        for key, grad in grads.items():
            if parameters[key].requires_grad:
                assert grad is not None, f"{key} gets no gradient"
                assert bool(grad.isfinite().all()), key
            else:
                assert grad is None, f"{key} is frozen and gets a gradient"
    for grads in zip(*(g.values() for g in watch.gradients), strict=True):
        assert all(g is None for g in grads) or any(bool(g.any()) for g in grads if g is not None)
    for old, ema in zip(before, teachers(method), strict=True):
        online = dict(ema.online.named_parameters())
        for key, p in ema.teacher.named_parameters():
            led = bool(((online[key] - old[key]).abs() > 1e-9).any())
            assert led <= (not torch.equal(old[key].double(), p)), f"{key} did not follow"
        assert not any(p.requires_grad for p in ema.teacher.parameters())


def test_some_method_has_a_teacher():
    assert any(teachers(tiny.build(name)) for name in METHODS)


@every_method
def test_embedding_is_detached_crop_major(name: str):
    seen: list[Any] = []

    class Look(pl.Callback):
        def on_train_batch_end(
            self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, i: int
        ):
            seen.append((outputs["embedding"], len(batch["index"])))

    method = tiny.fit(tiny.build(name), name, Look())
    assert len(seen) == 2
    for embedding, images in seen:
        if embedding is None:
            continue
        assert not embedding.requires_grad
        assert embedding.shape[1] == method.backbone.embed_dim
        assert embedding.shape[0] % images == 0


@every_method
def test_state_round_trips(name: str, tmp_path: Path):
    """Two more steps from the saved state are two more steps of the original, bit for bit."""
    trained = tiny.fit(tiny.build(name), name)
    torch.save(trained.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    other = tiny.build(name, seed=5)
    other.on_data(16, 10)
    assert any(not torch.equal(v, state[k]) for k, v in other.state_dict().items())
    other.load_state_dict(state)
    tiny.assert_same(tiny.snapshot(trained), tiny.snapshot(other))
    tiny.assert_same(tiny.snapshot(tiny.fit(trained, name)), tiny.snapshot(tiny.fit(other, name)))


@every_method
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_precisions(name: str, precision: str):
    watch = tiny.Watch()
    method = tiny.fit(tiny.build(name), name, watch, precision=precision)
    assert len(watch.losses) == 2
    assert all(math.isfinite(loss) for loss in watch.losses)
    wanted = {"bf16-mixed": torch.float32, "bf16-true": torch.bfloat16, "64-true": torch.float64}
    assert {p.dtype for p in method.parameters()} == {wanted[precision]}
    assert all(bool(p.isfinite().all()) for p in method.parameters())


# ------------------------------------------------------------------ resuming


def resumable(
    name: str, folder: Path, steps: int, ckpt_path: Path | None = None, **options: Any
) -> SSLModule:
    """Train two steps an epoch, up to ``steps``; a checkpoint after each step."""
    method = tiny.build(name)
    torch.manual_seed(1)
    checkpoint = Checkpoint(every_n_steps=1, every_n_epochs=None, keep_last=10)
    trainer = tiny.trainer(
        checkpoint,
        max_epochs=3,
        default_root_dir=folder,
        enable_checkpointing=True,
        plugins=[AtomicCheckpointIO()],
        **options,
    )
    stop = StopAfter(steps)
    trainer.callbacks.append(stop)
    trainer.fit(method, datamodule=tiny.data(name), ckpt_path=ckpt_path, weights_only=True)
    return method


class StopAfter(pl.Callback):
    """Leaves in the middle of training, as a crash would."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.steps:
            raise CrashError


class CrashError(Exception):
    """Not caught by anything in sslight."""


@every_method
@pytest.mark.parametrize("step", [2, 3])
def test_resumed_equals_straight(name: str, step: int, tmp_path: Path):
    """At an epoch's end and in the middle of one; every weight and buffer, bit for bit."""
    straight = resumable(name, tmp_path / "straight", 99)
    with pytest.raises(CrashError):
        resumable(name, tmp_path / "cut", step)
    newest = max((tmp_path / "cut").rglob("*.ckpt"))
    resumed = resumable(name, tmp_path / "cut", 99, newest)
    assert resumed.trainer.global_step == 6
    tiny.assert_same(tiny.snapshot(straight), tiny.snapshot(resumed))


@every_method
def test_resumed_equals_straight_in_16_bits(name: str, tmp_path: Path):
    """What is kept wider than the weights, teachers' averages and centers, is saved so."""
    options = {"precision": "bf16-true"}
    straight = resumable(name, tmp_path / "straight", 99, **options)
    with pytest.raises(CrashError):
        resumable(name, tmp_path / "cut", 3, **options)
    newest = max((tmp_path / "cut").rglob("*.ckpt"))
    resumed = resumable(name, tmp_path / "cut", 99, newest, **options)
    tiny.assert_same(tiny.snapshot(straight), tiny.snapshot(resumed))
    for ema in teachers(resumed):
        assert ema.average.dtype == torch.float32


# ------------------------------------------------------------------ large batches


def rowwise(name: str) -> SSLModule:
    """A method in which nothing but the loss may compare images."""
    method = tiny.build(name, tiny.rowwise(name))
    tiny.without_batch_norm(method)
    return method


def trained_rowwise(name: str, **options: Any) -> dict[str, torch.Tensor]:
    method = tiny.fit(rowwise(name), name, precision="64-true", **options)
    assert method.trainer.global_step == 2
    return tiny.snapshot(method)


@every_method
def test_accumulation_is_what_the_method_says(name: str):
    whole = trained_rowwise(name)
    halves = trained_rowwise(name, accumulate_grad_batches=2)
    worst = max((whole[k] - halves[k]).abs().max().item() for k in whole)
    if tiny.method_class(name).accumulation == "exact":
        assert worst < 1e-9
    else:
        assert worst > 1e-9, "accumulating is exact; say so"


@every_method
def test_approximate_accumulation_warns_once(name: str, monkeypatch, caplog):
    monkeypatch.setattr("sslight.utils._said", set())
    caplog.set_level(logging.WARNING, logger="sslight")
    for _ in range(2):
        tiny.fit(tiny.build(name), name, accumulate_grad_batches=2)
    warned = [r for r in caplog.records if "gradcache" in r.getMessage()]
    approximate = tiny.method_class(name).accumulation == "approximate"
    assert len(warned) == (1 if approximate else 0)


@every_method
def test_gradcache_is_the_whole_batch(name: str):
    plain, cached = (tiny.build(name, tiny.rowwise(name)) for _ in range(2))
    cached.train_step = partial(get_train_step("gradcache"), chunk=3)
    for method in (plain, cached):
        tiny.fit(method, name, precision="64-true")
    tiny.assert_same(tiny.snapshot(plain), tiny.snapshot(cached), tolerance=1e-9)


# ------------------------------------------------------------------ collapse


def alarms(name: str, backbone: Any, caplog: Any) -> list[str]:
    caplog.set_level(logging.WARNING, logger="sslight")
    trainer = tiny.trainer(Collapse(), max_epochs=2)
    trainer.fit(tiny.build(name, backbone), datamodule=tiny.data(name, 128, batch_size=32))
    assert trainer.global_step == 8
    said = [r.getMessage() for r in caplog.records]
    assert not any("is off" in text for text in said), "the method gives no embedding"
    return [text for text in said if text.startswith("collapse at step")]


@every_method
def test_the_alarm_is_silent_on_a_healthy_run(name: str, caplog):
    assert alarms(name, None, caplog) == []


@every_method
@pytest.mark.parametrize("net", [tiny.Constant, tiny.Line])
def test_the_alarm_rings_on_a_collapsed_embedding(name: str, net: type[nn.Module], caplog):
    assert len(alarms(name, tiny.rigged(name, net), caplog)) == 1


def test_copies_of_a_method_train_alike():
    """A deep copy keeps its teacher tied to its own online network."""
    for name in METHODS:
        method = tiny.build(name)
        twin = copy.deepcopy(method)
        tiny.assert_same(tiny.snapshot(tiny.fit(method, name)), tiny.snapshot(tiny.fit(twin, name)))
