"""LARS and LARC on parameters sharded over ranks (FSDP2) equal those of one process."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from ranks import run_ranks
from torch import nn

from sslight.optim import LARC, LARS

OPTIMIZERS = {
    "lars": (LARS, {"weight_decay": 0.1, "eta": 0.02}),
    "larc": (LARC, {"weight_decay": 0.1, "trust": 0.02, "clip": True, "nesterov": True}),
}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2), nn.LayerNorm(2)).double()


def train(module: nn.Module, name: str, inputs: torch.Tensor) -> dict[str, Any]:
    make, options = OPTIMIZERS[name]
    optimizer = make(module.parameters(), lr=0.3, **options)
    for step in range(4):
        module(inputs[step]).sin().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return optimizer.state_dict()


def batches() -> torch.Tensor:
    return torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def sharded(name: str) -> tuple[list[torch.Tensor], list[torch.Tensor], bool]:
    """Weights and momenta after training on two ranks, and whether they were really sharded."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    module = copy.deepcopy(network())
    fully_shard(module, mesh=init_device_mesh("cpu", (2,)))
    rank = dist.get_rank()
    state = train(module, name, batches()[:, rank * 3 : rank * 3 + 3])
    momenta = [entry["momentum_buffer"].full_tensor() for entry in state["state"].values()]
    halves = module[0].weight.to_local().shape[0] < 5
    return [p.full_tensor().detach() for p in module.parameters()], momenta, halves


def all_sharded() -> dict[str, Any]:
    return {name: sharded(name) for name in OPTIMIZERS}


@pytest.mark.ranks
def test_two_ranks_equal_one_process():
    results = run_ranks(2, all_sharded)
    for name in OPTIMIZERS:
        module = network()
        state = train(module, name, batches())
        momenta = [entry["momentum_buffer"] for entry in state["state"].values()]
        for result in results:
            weights, sharded_momenta, was_sharded = result[name]
            assert was_sharded
            for a, b in zip(
                [*module.parameters(), *momenta], weights + sharded_momenta, strict=True
            ):
                torch.testing.assert_close(a.detach(), b, rtol=1e-12, atol=1e-14)
