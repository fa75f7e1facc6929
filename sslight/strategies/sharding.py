"""FSDP2: which parts of a method are sharded, and when they stand whole on a rank."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.fsdp import FSDPModule

from sslight.errors import RefusedRunError
from sslight.modules.checkpointing import repeated_blocks
from sslight.modules.ema import EMA
from sslight.modules.snapshot import Snapshot


class ShardedStrategy(ModelParallelStrategy):
    """FSDP2; checkpoints are one file that any number of ranks can read.

    Args:
        process_group_backend: ``nccl``, ``gloo``, ...; None chooses by the device.
        shard_ranks: Consecutive ranks that share one copy; None for all.
    """

    def __init__(
        self, process_group_backend: str | None = None, shard_ranks: int | None = None
    ) -> None:
        if not hasattr(FSDPModule, "set_reshard_after_forward"):
            raise RefusedRunError("strategy: model_parallel needs torch 2.8 or newer.")
        if shard_ranks is not None and shard_ranks < 2:
            raise RefusedRunError(
                f"strategy: model_parallel: shard_ranks is {shard_ranks}; give 2 or more, or null "
                "for all ranks."
            )
        super().__init__(
            save_distributed_checkpoint=False, process_group_backend=process_group_backend
        )
        self.shard_ranks = shard_ranks

    def setup_environment(self) -> None:
        """Lay out all ranks as copies x shards; Lightning calls the two dimensions otherwise."""
        ranks = self.num_nodes * self.num_processes
        shards = self.shard_ranks or ranks
        if ranks % shards:
            raise RefusedRunError(
                f"strategy: model_parallel: {ranks} ranks are no multiple of shard_ranks, {shards}."
            )
        self._data_parallel_size, self._tensor_parallel_size = ranks // shards, shards
        super().setup_environment()

    def synchronise_layers(self, module: nn.Module) -> None:
        """Apply the batch-norm plugin, as DDP does, before anything is sharded."""
        if self._layer_sync is not None:
            self._layer_sync.apply(module)

    def on_validation_start(self) -> None:
        """Gather everything: a rank with fewer images makes fewer calls."""
        hold_whole(cast(nn.Module, self.lightning_module))

    def on_validation_end(self) -> None:
        """Shard everything again."""
        release(cast(nn.Module, self.lightning_module))

    on_test_start = on_predict_start = on_validation_start
    on_test_end = on_predict_end = on_validation_end


def shard_children(module: pl.LightningModule) -> None:
    """Shard each child of a module over the ranks that share a copy, for ``configure_model``.

    Of a teacher it is the network inside, which evaluation calls without the teacher around it.
    Repeated blocks are units of their own: each is gathered when it is called and given back after
    it, and the next one is on its way meanwhile. The rest of a network is whole until its backward.
    """
    from torch.distributed.fsdp import fully_shard

    if isinstance(module.trainer.strategy, ShardedStrategy):
        module.trainer.strategy.synchronise_layers(module)
    if module.device_mesh is None:
        raise RefusedRunError("Sharding needs a device mesh: use strategy: model_parallel.")
    own = [name for name, _ in module.named_parameters(recurse=False)]
    if own:
        raise RefusedRunError(
            f"strategy: model_parallel shards the modules of a method, and {own} of "
            f"{type(module).__name__} are in none. Put them into an nn.Module with a forward."
        )
    ranks = module.device_mesh  # copies x shards
    mesh = ranks if ranks.size(0) > 1 else ranks["tensor_parallel"]
    for network in map(_network_of, module.children()):
        if any(True for _ in network.parameters()):
            for block in repeated_blocks(network):
                fully_shard(block, mesh=mesh, reshard_after_forward=True)
            fully_shard(network, mesh=mesh)
            for name in ("tokens", "block_outputs"):
                if hasattr(network, name):
                    _gather_for(network, name)


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Keep sharded parameters whole on every rank inside, so that each may call at its own time.

    Ranks evaluate different numbers of batches, and a gather that one of them does not take part in
    waits for ever. All ranks must enter and leave; nothing happens where nothing is sharded.
    """
    hold_whole(module)
    try:
        yield
    finally:
        release(module)


def hold_whole(module: nn.Module) -> None:
    """Gather every sharded part of a module, until :func:`release`."""
    for block in _blocks(module):
        block.set_reshard_after_forward(False, recurse=False)
    with torch.inference_mode(False):  # the buffers gathered into serve training, too
        for unit in _units(module):
            unit.unshard()


def release(module: nn.Module) -> None:
    """Give back what :func:`hold_whole` gathered."""
    for block in _blocks(module):
        block.set_reshard_after_forward(True, recurse=False)
    for unit in _units(module):
        unit.reshard()


def _units(module: nn.Module) -> list[FSDPModule]:
    return [part for part in module.modules() if isinstance(part, FSDPModule)]


def _blocks(module: nn.Module) -> list[FSDPModule]:
    """Give the units within a unit; that itself stays whole from its forward to its backward."""
    networks = [cast(nn.Module, unit) for unit in _units(module)]
    return [part for network in networks for part in _units(network)[1:]]


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
