"""What every method must do. Methods and configs are discovered, never listed."""

from __future__ import annotations

import copy
import inspect
import logging
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import tiny
import torch
from ranks import run_ranks
from tiny import METHODS
from torch import nn

from sslight import config, registry
from sslight.augment.presets import PRESETS
from sslight.callbacks.checkpoint import Checkpoint
from sslight.callbacks.collapse import Collapse
from sslight.distributed import all_gather, world_size
from sslight.module import SSLModule
from sslight.modules.ema import EMA
from sslight.run import assemble
from sslight.strategies import AtomicCheckpointIO, ManualReductionStrategy, SyncBatchNormPlugin
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


# ------------------------------------------------------------------ configs


def missing(tree: Any, prefix: str = "") -> Iterator[str]:
    """Full keys of all ``???``."""
    pairs = enumerate(tree) if isinstance(tree, list) else tree.items()
    for key, value in pairs:
        if isinstance(value, dict | list):
            yield from missing(value, f"{prefix}{key}.")
        elif value == "???":
            yield f"{prefix}{key}"


def problems(path: Path) -> list[str]:
    composed = config.load(path)
    filled = [f"{key}=placeholder" for key in missing(composed)]
    if "_base_" in path.parts:  # a part of a config; what is above it names the rest
        for part, node in (("method", "simclr"), ("backbone", "resnet18"), ("data.train", "fake")):
            section, _, key = part.partition(".")
            there = section in composed and (not key or key in composed[section])
            filled += [] if there else [f"{part}={{name: {node}}}"]
    return [str(problem) for problem in config.check(config.compose(composed, filled))]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.relative_to(REPOSITORY).as_posix())
def test_every_shipped_config_is_right(path: Path):
    assert problems(path) == []


def test_there_are_configs():
    assert len(CONFIGS) >= 2


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.relative_to(REPOSITORY).as_posix())
def test_every_method_builds_from_its_configs(path: Path):
    """Without memory for its weights; a config of ``_base_`` has no method."""
    composed = config.load(path)
    if "method" not in composed:
        assert "_base_" in path.parts
        return
    checked = config.checked(config.compose(composed, [f"{k}=none" for k in missing(composed)]))
    with torch.device("meta"):
        method = assemble.build_method(checked, ())
    assert type(method) is tiny.method_class(composed["method"]["name"])
    assert path.parent.name in (composed["method"]["name"], "configs"), path


def test_a_wrong_config_would_be_noticed(tmp_path: Path):
    path = tmp_path / "wrong.yaml"
    path.write_text(
        "_base_: [_base_/cifar10]\nmethod: {name: simclr, temprature: 1}\nbackbone: resnet18\n"
    )
    assert len(problems(path)) == 1


# ------------------------------------------------------------------ training


class Watch(pl.Callback):
    """Keeps each step's gradients and losses."""

    def __init__(self) -> None:
        self.gradients: list[dict[str, torch.Tensor | None]] = []
        self.losses: list[float] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Any) -> None:
        grads = {n: p.grad for n, p in pl_module.named_parameters()}
        self.gradients.append({n: None if g is None else g.clone() for n, g in grads.items()})

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        self.losses.append(float(outputs["loss"]))


def teachers(method: nn.Module) -> list[EMA]:
    return [module for module in method.modules() if isinstance(module, EMA)]


@every_method
def test_every_trainable_parameter_learns_and_no_other(name: str):
    watch, method = Watch(), tiny.build(name)
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
    watch = Watch()
    method = tiny.fit(tiny.build(name), name, watch, precision=precision)
    assert len(watch.losses) == 2
    assert all(math.isfinite(loss) for loss in watch.losses)
    wanted = {"bf16-mixed": torch.float32, "bf16-true": torch.bfloat16, "64-true": torch.float64}
    assert {p.dtype for p in method.parameters()} == {wanted[precision]}
    assert all(bool(p.isfinite().all()) for p in method.parameters())


# ------------------------------------------------------------------ resuming


def resumable(name: str, folder: Path, steps: int, ckpt_path: Path | None = None) -> SSLModule:
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


# ------------------------------------------------------------------ ranks


class LocalQueue(SSLModule):
    """Mutant: a buffer that each rank fills from its own share of the batch."""

    def __init__(self, backbone: nn.Module, optim: Any = None) -> None:
        super().__init__(backbone, optim)
        self.register_buffer("queue", torch.zeros(2, 8))

    def training_loss(self, batch: Any) -> Any:
        from sslight.types import StepOutput

        embedding = self.backbone(batch["views"][0])
        self.queue.copy_(embedding.detach()[:2])
        return StepOutput(embedding.square().mean())


def trained(name: str, method: SSLModule, **options: Any) -> dict[str, torch.Tensor]:
    """Losses, gradients and state of two steps in float64."""
    watch = Watch()
    trainer = tiny.trainer(watch, precision="64-true", **options)
    torch.manual_seed(1)
    trainer.fit(method, datamodule=tiny.data("simclr" if name == "mutant" else name))
    assert trainer.global_step == 2
    losses = torch.tensor(watch.losses, dtype=torch.float64)
    seen = {f"loss {k}": loss for k, loss in enumerate(losses)}
    for k, grads in enumerate(watch.gradients):
        seen |= {f"gradient {k} {n}": g for n, g in grads.items() if g is not None}
    return {**seen, **{f"state {n}": value for n, value in tiny.snapshot(method).items()}}


def on_rank() -> dict[str, dict[str, torch.Tensor]]:
    """Train every method on this rank; without DDP's wrapper, which would hide differences."""
    options = {"devices": world_size(), "plugins": [SyncBatchNormPlugin()]}
    results = {}
    for name in [*METHODS, "mutant"]:
        method = LocalQueue(tiny.Net()) if name == "mutant" else tiny.build(name)
        result = trained(name, method, strategy=ManualReductionStrategy(), **options)
        assert method.trainer.world_size == world_size()
        for key in [key for key in result if key.startswith("loss")]:
            result[key] = all_gather(result[key]).mean()
        results[name] = result
    return results


@pytest.fixture(scope="module")
def by_ranks() -> dict[int, list[dict[str, dict[str, torch.Tensor]]]]:
    return {ranks: run_ranks(ranks, on_rank, timeout=240) for ranks in (2, 4)}


@pytest.mark.ranks
@pytest.mark.parametrize("ranks", [2, 4])
@every_method
def test_ranks_are_one_process_with_the_whole_batch(by_ranks: Any, name: str, ranks: int):
    """Losses, gradients, weights, teachers, queues: each rank ends as one process does."""
    whole = trained(name, tiny.build(name))
    assert sum(key.startswith("gradient") for key in whole) >= 4
    for result in by_ranks[ranks]:
        tiny.assert_same(whole, result[name], tolerance=1e-8)


@pytest.mark.ranks
@every_method
def test_all_ranks_end_alike(by_ranks: Any, name: str):
    """To the last bit: nothing corrects a buffer that drifts."""
    first, *others = ({k: v for k, v in r[name].items() if "state" in k} for r in by_ranks[4])
    for other in others:
        tiny.assert_same(first, other)


@pytest.mark.ranks
def test_a_local_queue_would_be_noticed(by_ranks: Any):
    first, second = (result["mutant"] for result in by_ranks[2])
    assert torch.equal(
        first["state backbone.body.0.weight"], second["state backbone.body.0.weight"]
    )
    assert not torch.equal(first["state queue"], second["state queue"])


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
