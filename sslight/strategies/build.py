"""The strategies that ``trainer.strategy`` names, with their arguments spelt out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytorch_lightning.strategies import DDPStrategy, Strategy

from sslight.strategies.reduction import ManualReductionStrategy
from sslight.strategies.sharding import ShardedStrategy


def ddp(
    bucket_cap_mb: int = 25,
    static_graph: bool = False,
    find_unused_parameters: bool = False,
    gradient_as_bucket_view: bool = True,
    process_group_backend: str | None = None,
) -> Strategy:
    """Distributed data parallel: gradients are averaged while the backward runs.

    Args:
        bucket_cap_mb: Size of the buckets that are reduced at once.
        static_graph: Promise that every step uses the same parameters in the same order.
        find_unused_parameters: Search for parameters that a step did not use.
        gradient_as_bucket_view: Keep gradients in the buckets, saving a copy of them.
        process_group_backend: ``nccl``, ``gloo``, ...; None chooses by the device.
    """
    return DDPStrategy(
        bucket_cap_mb=bucket_cap_mb,
        static_graph=static_graph,
        find_unused_parameters=find_unused_parameters,
        gradient_as_bucket_view=gradient_as_bucket_view,
        process_group_backend=process_group_backend,
    )


def manual(bucket_cap_mb: int = 25, process_group_backend: str | None = None) -> Strategy:
    """Average gradients by hand after the backward, without DDP's wrapper.

    Args:
        bucket_cap_mb: Size of the flat buffers that are reduced at once.
        process_group_backend: ``nccl``, ``gloo``, ...; None chooses by the device.
    """
    return ManualReductionStrategy(bucket_cap_mb, process_group_backend=process_group_backend)


def model_parallel(
    process_group_backend: str | None = None, shard_ranks: int | None = None
) -> Strategy:
    """Shard parameters, gradients and optimizer state over ranks, block by block (FSDP2).

    Args:
        process_group_backend: ``nccl``, ``gloo``, ...; None chooses by the device.
        shard_ranks: Consecutive ranks that share one copy, such as the 8 devices of a node; each
            such group has a copy, and between groups only gradients are sent. None for all ranks.
    """
    return ShardedStrategy(process_group_backend, shard_ranks)


#: Names of our own; Lightning's public strategies can be named too.
STRATEGIES: dict[str, Callable[..., Any]] = {
    "ddp": ddp,
    "manual": manual,
    "model_parallel": model_parallel,
}
