"""Methods under DDP on two ranks equal one process with the whole batch; teachers under FSDP2."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from ranks import run_ranks
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sslight import distributed as d
from sslight.methods.byol import BYOL
from sslight.methods.simclr import SimCLR
from sslight.methods.supervised import Supervised
from sslight.modules.ema import EMA
from sslight.schedules import Clock
from sslight.train_steps import gradcache, standard
from sslight.types import Batch, StepOutput

pytestmark = pytest.mark.ranks
BATCH = 8


def backbone(norm: bool) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.BatchNorm2d(6) if norm else nn.GroupNorm(2, 6),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "simclr":
        return SimCLR(backbone(True), hidden_dim=8, out_dim=4).double()
    if name == "byol":
        return BYOL(backbone(True), hidden_dim=8, out_dim=4, momentum=0.9).double()
    if name == "supervised":
        return Supervised(backbone(True), num_classes=5, label_smoothing=0.1).double()
    return SimCLR(backbone(False), hidden_dim=8, out_dim=4).double()


STEPS = {
    "simclr": standard,
    "byol": standard,
    "supervised": standard,
    "gradcache": partial(gradcache, chunk=3),
}


def batch(rows: slice) -> Batch:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(2, BATCH, 3, 8, 8, generator=generator, dtype=torch.float64)[:, rows]
    label = torch.tensor([0, 1, -1, -1, 4, 2, 3, 3])[rows]
    return {"views": list(x.unbind()), "label": label.repeat(1)}


class Step(nn.Module):
    """What Lightning's DDP wraps: a module whose forward is one training step."""

    def __init__(self, method: nn.Module, step):
        super().__init__()
        self.method, self.step = method, step

    def forward(self, rows: Batch) -> StepOutput:
        return self.step(self.method, rows).loss


def train(name: str, rows: slice, steps: int = 2) -> dict[str, torch.Tensor]:
    """Losses, last gradients and the state after a few steps of SGD and ticks."""
    method = d.convert_sync_batchnorm(build(name))
    wrapped = Step(method, STEPS[name])
    if d.is_distributed():
        wrapped = DistributedDataParallel(wrapped)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1)
    result = {}
    for step in range(steps):
        optimizer.zero_grad()
        loss = wrapped(batch(rows))
        loss.backward()
        optimizer.step()
        for module in method.modules():
            if hasattr(module, "after_step"):
                module.after_step(Clock(step=step, total=10, per_epoch=5))
        result[f"loss {step}"] = d.mean_over_ranks(loss.detach())
    for key, parameter in method.named_parameters():
        if parameter.grad is not None:
            result[f"gradient {key}"] = parameter.grad
    result.update(method.state_dict())
    return result


def on_rank():
    rows = BATCH // d.world_size()
    return {name: train(name, slice(d.rank() * rows, (d.rank() + 1) * rows)) for name in STEPS}


@pytest.fixture(scope="module")
def results():
    return run_ranks(2, on_rank)


@pytest.mark.parametrize("name", STEPS)
def test_equal_to_one_process(results, name):
    whole = train(name, slice(None))
    assert sum(key.startswith("gradient") for key in whole) >= 4
    for result in results:
        assert set(result[name]) == set(whole)
        for key, value in whole.items():
            torch.testing.assert_close(result[name][key], value, rtol=1e-9, atol=1e-11, msg=key)


def sharded_teacher():
    """A sharded online network and teacher, and the same in one piece."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    owner = nn.ModuleDict({"online": net})
    owner["ema"] = EMA(net, 0.9)
    start = [p.detach().clone() for p in net.parameters()]
    mesh = init_device_mesh("cpu", (d.world_size(),))
    for child in owner.children():
        fully_shard(child, mesh=mesh)
    x = torch.ones(2, 3)
    for _ in range(2):
        (owner["online"](x) - owner["ema"](x)).sum().backward()
        for parameter in owner["online"].parameters():
            with torch.no_grad():
                parameter.add_(1.0)
        owner["ema"].after_step(Clock(step=0, total=10, per_epoch=5))
    teacher = [p.full_tensor() for p in owner["ema"].teacher.parameters()]
    online = [p.full_tensor() for p in owner["online"].parameters()]
    return start, [p.detach() for p in online], [p.detach() for p in teacher]


def test_a_sharded_teacher_follows():
    for start, online, teacher in run_ranks(2, sharded_teacher):
        for p0, p, t in zip(start, online, teacher, strict=True):
            torch.testing.assert_close(p, p0 + 2)
            torch.testing.assert_close(t, 0.9 * (0.9 * p0 + 0.1 * (p0 + 1)) + 0.1 * (p0 + 2))
