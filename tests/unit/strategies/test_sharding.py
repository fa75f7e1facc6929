"""FSDP2: block by block, and whole where ranks go different ways."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import torch
from ranks import run_ranks
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule

import sslight
from sslight.distributed import rank, world_size
from sslight.errors import RefusedRunError
from sslight.modules.checkpointing import repeated_blocks
from sslight.strategies import ShardedStrategy, gathered, shard_children

pytestmark = pytest.mark.ranks
IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def mesh(copies: int = 1) -> DeviceMesh:
    """As Lightning makes it."""
    sizes, names = (copies, world_size() // copies), ("data_parallel", "tensor_parallel")
    return init_device_mesh("cpu", sizes, mesh_dim_names=names)


def sharded(copies: int = 1) -> tuple[Any, nn.Module]:
    """A tiny transformer over all ranks, and the same one as it was."""
    torch.manual_seed(0)
    network: Any = sslight.backbone(**{**tiny.VIT, "depth": 4})
    plain = copy.deepcopy(network)
    method: Any = nn.Module()
    method.backbone = network
    method.trainer = SimpleNamespace(strategy=None)
    method.device_mesh = mesh(copies)
    shard_children(method)
    return network, plain


def is_whole(part: nn.Module) -> bool:
    return not any(hasattr(p, "full_tensor") for p in part.parameters())


def whole_blocks_seen() -> tuple[int, list[int]]:
    """How many blocks there are, and how many of them are whole while each one runs."""
    network, _ = sharded()
    blocks = repeated_blocks(network)
    assert all(isinstance(block, FSDPModule) for block in blocks)
    seen: list[int] = []
    for block in blocks:
        block.attn.register_forward_hook(lambda *_: seen.append(sum(map(is_whole, blocks))))
    network(IMAGES).sum().backward()
    assert not any(map(is_whole, blocks))
    return len(blocks), seen


def uneven() -> None:
    """Evaluate more often on the first rank than on the second, then train."""
    network, plain = sharded()
    with gathered(network), torch.no_grad():
        for _ in range(3 - 2 * rank()):
            torch.testing.assert_close(network(IMAGES), plain(IMAGES))
    assert not any(map(is_whole, repeated_blocks(network)))
    network(IMAGES).square().sum().backward()
    plain(IMAGES).square().sum().backward()
    for ours, wanted in zip(network.parameters(), plain.parameters(), strict=True):
        assert (ours.grad is None) == (wanted.grad is None)
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad.full_tensor(), wanted.grad)


def test_two_blocks_at_most_are_whole_in_training():
    for count, seen in run_ranks(2, whole_blocks_seen):
        assert count == len(seen) == 4
        assert max(seen) <= 2


def test_ranks_may_evaluate_different_numbers_of_batches():
    run_ranks(2, uneven)


def test_nothing_happens_where_nothing_is_sharded():
    network = nn.Linear(2, 2)
    with gathered(network):
        assert network(torch.ones(1, 2)).shape == (1, 2)


def with_a_parameter_of_its_own() -> str:
    method: Any = nn.Module()
    method.scale = nn.Parameter(torch.ones(1))
    method.trainer = SimpleNamespace(strategy=None)
    method.device_mesh = mesh()
    with pytest.raises(RefusedRunError) as refused:
        shard_children(method)
    return str(refused.value)


def test_a_parameter_outside_any_module_would_stay_unsharded_and_is_refused():
    for said in run_ranks(2, with_a_parameter_of_its_own):
        assert "['scale'] of Module are in none" in said


def two_copies_of_two_shards() -> None:
    network, plain = sharded(copies=2)
    held = network.blocks[0].mlp.fc1.weight
    assert held.to_local().numel() * 2 == held.numel()
    mine = IMAGES[rank() : rank() + 1]
    network(mine).square().sum().backward()
    (plain(IMAGES).square().sum() / 4).backward()
    for ours, wanted in zip(network.parameters(), plain.parameters(), strict=True):
        if wanted.grad is not None:
            torch.testing.assert_close(ours.grad.full_tensor(), wanted.grad)


def test_groups_of_ranks_may_each_have_a_copy():
    run_ranks(4, two_copies_of_two_shards)


def test_wrong_groups_are_refused():
    with pytest.raises(ValueError, match="shard_ranks is 1; give 2 or more"):
        ShardedStrategy(shard_ranks=1)
    strategy = ShardedStrategy(shard_ranks=3)
    strategy.parallel_devices = [torch.device("cpu")] * 4
    with pytest.raises(RefusedRunError, match="4 ranks are no multiple of shard_ranks, 3"):
        strategy.setup_environment()
