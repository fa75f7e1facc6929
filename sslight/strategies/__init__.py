"""Everything that touches Lightning's inside, in one place.

Lightning's private names appear here and nowhere else; ``tests/unit/strategies/test_loop.py`` names
the versions they were seen in.
"""

from sslight.strategies.build import STRATEGIES
from sslight.strategies.checkpoint_io import AtomicCheckpointIO
from sslight.strategies.layout import interleave_channels
from sslight.strategies.loop import (
    batches_done,
    batches_per_epoch,
    is_accumulating,
    is_logging_step,
    is_trial,
    loader_position,
    plain_batch_size,
    rewind_fetched_batch,
    seed_device,
    settle_epoch,
)
from sslight.strategies.reduction import ManualReductionStrategy
from sslight.strategies.sharding import ShardedStrategy, gathered, shard_children
from sslight.strategies.signals import StopSignal
from sslight.strategies.sync_batchnorm import SyncBatchNormPlugin

__all__ = [
    "STRATEGIES",
    "AtomicCheckpointIO",
    "ManualReductionStrategy",
    "ShardedStrategy",
    "StopSignal",
    "SyncBatchNormPlugin",
    "batches_done",
    "batches_per_epoch",
    "gathered",
    "interleave_channels",
    "is_accumulating",
    "is_logging_step",
    "is_trial",
    "loader_position",
    "plain_batch_size",
    "rewind_fetched_batch",
    "seed_device",
    "settle_epoch",
    "shard_children",
]
