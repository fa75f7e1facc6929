"""What a config says of a strategy reaches it."""

from __future__ import annotations

import torch

from sslight.strategies import STRATEGIES, ManualReductionStrategy, ShardedStrategy
from sslight.strategies.reduction import _buckets


def test_ddp_options_reach_ddp() -> None:
    strategy = STRATEGIES["ddp"](bucket_cap_mb=3, static_graph=True, find_unused_parameters=True)
    assert strategy._ddp_kwargs["bucket_cap_mb"] == 3
    assert strategy._ddp_kwargs["static_graph"] is True
    assert strategy._ddp_kwargs["find_unused_parameters"] is True


def test_the_others_are_built() -> None:
    manual = STRATEGIES["manual"](bucket_cap_mb=2)
    assert isinstance(manual, ManualReductionStrategy)
    assert manual.bucket_bytes == 2 * 2**20
    sharded = STRATEGIES["model_parallel"]()
    assert isinstance(sharded, ShardedStrategy)
    assert sharded._save_distributed_checkpoint is False


def test_gradients_are_put_into_buckets_in_order() -> None:
    grads = [torch.zeros(n) for n in (1, 2, 3, 4)] + [torch.zeros(1, dtype=torch.float64)]
    buckets = _buckets(grads, limit=4 * 6)
    assert [[g.numel() for g in bucket] for bucket in buckets] == [[1, 2, 3], [4], [1]]
