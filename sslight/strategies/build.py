"""The strategies that ``trainer.strategy`` names, with their arguments spelt out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch import nn

from sslight.modules.ema import EMA
from sslight.modules.snapshot import Snapshot
from sslight.strategies.reduction import ManualReductionStrategy


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


class ShardedStrategy(ModelParallelStrategy):
    """FSDP2 over all ranks; checkpoints are one file that any number of ranks can read."""

    def __init__(self, process_group_backend: str | None = None) -> None:
        super().__init__(
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
            process_group_backend=process_group_backend,
        )

    def setup_environment(self) -> None:
        """Shard over every process, whatever their number."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def synchronise_layers(self, module: nn.Module) -> None:
        """Apply the batch-norm plugin, as DDP does, before anything is sharded."""
        if self._layer_sync is not None:
            self._layer_sync.apply(module)


def model_parallel(process_group_backend: str | None = None) -> Strategy:
    """Shard parameters, gradients and optimizer state over all ranks (FSDP2).

    Args:
        process_group_backend: ``nccl``, ``gloo``, ...; None chooses by the device.
    """
    return ShardedStrategy(process_group_backend)


def shard_children(module: pl.LightningModule) -> None:
    """Shard each child of a module over the data-parallel ranks, for ``configure_model``.

    Of a teacher it is the network inside, which evaluation calls without the teacher around it.
    """
    from torch.distributed.fsdp import fully_shard

    if isinstance(module.trainer.strategy, ShardedStrategy):
        module.trainer.strategy.synchronise_layers(module)
    if module.device_mesh is None:
        raise RuntimeError("Sharding needs a device mesh: use strategy: model_parallel.")
    for child in module.children():
        network = _network_of(child)
        if any(True for _ in network.parameters()):
            fully_shard(network, mesh=module.device_mesh["data_parallel"])
            for name in ("tokens", "block_outputs"):
                if hasattr(network, name):
                    _gather_for(network, name)


def _network_of(child: nn.Module) -> nn.Module:
    if isinstance(child, EMA):
        return child.teacher
    return child.copy if isinstance(child, Snapshot) else child


def _gather_for(network: nn.Module, name: str) -> None:
    """Let a method gather the parameters as ``forward`` does, except when ``forward`` calls it.

    FSDP2 takes the end of a method within ``forward`` for the end of ``forward`` and then gives the
    parameters back for good: ranks that evaluate different numbers of batches would hang.
    """
    from torch.distributed.fsdp import register_fsdp_forward_method

    plain, depth = getattr(network, name), [0]

    def count(by: int) -> None:
        depth[0] += by

    register_fsdp_forward_method(network, name)
    gathering = getattr(network, name)
    network.register_forward_pre_hook(lambda *_: count(1))
    network.register_forward_hook(lambda *_: count(-1), always_call=True)

    def method(*args: Any, **kwargs: Any) -> Any:
        return (plain if depth[0] else gathering)(*args, **kwargs)

    network.__dict__[name] = method


#: Names of our own; Lightning's public strategies can be named too.
STRATEGIES: dict[str, Callable[..., Any]] = {
    "ddp": ddp,
    "manual": manual,
    "model_parallel": model_parallel,
}
