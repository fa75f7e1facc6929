"""Every method with its weights sharded over two ranks trains as it does with whole copies."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
import tiny
import torch
from ranks import run_ranks
from tiny import METHODS

from sslight.distributed import all_gather, world_size
from sslight.strategies import ManualReductionStrategy, ShardedStrategy, SyncBatchNormPlugin

pytestmark = pytest.mark.ranks
Seen = dict[str, torch.Tensor]


def trained(name: str, strategy: Any) -> Seen:
    """Losses and state of two steps, whole; in float32, as FSDP2 under Lightning has no other."""
    watch, method = tiny.Watch(), tiny.build(name)
    options = {"devices": world_size(), "plugins": [SyncBatchNormPlugin()], "strategy": strategy}
    torch.manual_seed(1)
    trainer = tiny.trainer(watch, **options)
    trainer.fit(method, datamodule=tiny.data(name))
    assert trainer.global_step == 2
    losses = {f"loss {k}": all_gather(torch.tensor(x)).mean() for k, x in enumerate(watch.losses)}
    return {**losses, **{key: whole(value) for key, value in method.state_dict().items()}}


def whole(value: Any) -> torch.Tensor:
    """Gather a shard; every rank must call."""
    return (value.full_tensor() if hasattr(value, "full_tensor") else value).detach().clone()


def both(name: str) -> str | tuple[Seen, Seen]:
    """Train a method in both ways; one that fails does not take the others along."""
    try:
        return trained(name, ManualReductionStrategy()), trained(name, ShardedStrategy())
    except Exception:
        return traceback.format_exc()


def on_rank() -> dict[str, str | tuple[Seen, Seen]]:
    return {name: both(name) for name in METHODS}


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    return run_ranks(2, on_rank, timeout=240)


@pytest.mark.parametrize("name", METHODS)
def test_sharded_weights_train_as_whole_ones_or_are_refused(results: list[Any], name: str):
    for result in results:
        if isinstance(result[name], str):
            assert "RefusedRunError" in result[name], result[name]
            assert "Use trainer.strategy: ddp" in result[name]
        else:
            copies, shards = result[name]
            tiny.assert_same(copies, shards, tolerance=1e-4)


def test_most_are_not_refused(results: list[dict[str, Any]]):
    assert sum(isinstance(result, str) for result in results[0].values()) <= 1


def two_copies() -> list[tuple[Seen, Seen]]:
    """A method with a teacher and repeated blocks, and one whose loss spans all ranks."""
    pairs = []
    for name in ("dinov2", "simclr"):
        strategy = ShardedStrategy(shard_ranks=2)
        pairs.append((trained(name, ManualReductionStrategy()), trained(name, strategy)))
    return pairs


def test_two_copies_of_two_shards_train_as_whole_weights():
    for pairs in run_ranks(4, two_copies, timeout=120):
        for copies, shards in pairs:
            tiny.assert_same(copies, shards, tolerance=1e-4)
