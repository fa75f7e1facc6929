"""Every method on 2 and 4 ranks is one process with the whole batch. Discovered, not listed."""

from __future__ import annotations

from typing import Any

import pytest
import pytorch_lightning as pl
import tiny
import torch
from ranks import run_ranks
from tiny import METHODS
from torch import nn

from sslight.distributed import all_gather, rank, world_size
from sslight.module import SSLModule
from sslight.strategies import ManualReductionStrategy, SyncBatchNormPlugin

pytestmark = pytest.mark.ranks
every_method = pytest.mark.parametrize("name", METHODS)


class Starting(pl.Callback):
    """Keeps the buffers as training starts, and leaves."""

    class LeaveError(Exception):
        """Not caught by anything in sslight."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.buffers = {name: value.clone() for name, value in pl_module.named_buffers()}
        raise self.LeaveError


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
    watch = tiny.Watch()
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


@pytest.mark.parametrize("ranks", [2, 4])
@every_method
def test_ranks_are_one_process_with_the_whole_batch(by_ranks: Any, name: str, ranks: int):
    """Losses, gradients, weights, teachers, queues: each rank ends as one process does."""
    whole = trained(name, tiny.build(name))
    assert sum(key.startswith("gradient") for key in whole) >= 4
    for result in by_ranks[ranks]:
        tiny.assert_same(whole, result[name], tolerance=1e-8)


@every_method
def test_all_ranks_end_alike(by_ranks: Any, name: str):
    """To the last bit: nothing corrects a buffer that drifts."""
    first, *others = ({k: v for k, v in r[name].items() if "state" in k} for r in by_ranks[4])
    for other in others:
        tiny.assert_same(first, other)


def test_a_local_queue_would_be_noticed(by_ranks: Any):
    first, second = (result["mutant"] for result in by_ranks[2])
    assert torch.equal(
        first["state backbone.body.0.weight"], second["state backbone.body.0.weight"]
    )
    assert not torch.equal(first["state queue"], second["state queue"])


def started() -> dict[str, dict[str, torch.Tensor]]:
    """Build every method as a script without a seed does, and start a plain Trainer with DDP."""
    starts = {}
    for name in METHODS:
        method, start = tiny.build(name, seed=100 + rank()), Starting()
        trainer = tiny.trainer(start, devices=2, strategy="ddp")
        torch.manual_seed(200 + rank())
        with pytest.raises(Starting.LeaveError):
            trainer.fit(method, datamodule=tiny.data(name))
        starts[name] = start.buffers
    return starts


def test_ranks_that_draw_differently_start_alike():
    """Queues and banks are out of DDP's broadcasts, and nothing else would make them equal."""
    first, second = run_ranks(2, started, timeout=120)
    assert sum(key.endswith("queue.rows") for names in first.values() for key in names) >= 3
    for name in METHODS:
        tiny.assert_same(first[name], second[name])
