"""What moves after a step (EMA, LARS, queue, Sinkhorn, groups) against loops over parameters.

Time is measured here, where there is a CPU: the work is bound by memory, and lists of tensors
(``torch._foreach_*``) gain little. On a GPU the loop is bound by launches. Those are counted: the
operators that reach torch's dispatcher, each at least one kernel in a loop, and one or a few for a
whole list.

    python scripts/bench_update.py
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from _bench import Bench, Work, arguments, at_least
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from sslight import backbone
from sslight.losses.sinkhorn import sinkhorn
from sslight.modules.ema import EMA
from sslight.modules.queue import Queue
from sslight.optim import Recipe, build_optimizer, layerwise, parameter_groups
from sslight.optim.lars import LARS
from sslight.schedules import Clock

CLOCK = Clock(step=10, total=100, per_epoch=10)
NETWORKS = {"ResNet-50": "resnet50", "ViT-B": "vit_b_16"}


class Operators(TorchDispatchMode):
    """Counts what reaches the dispatcher and computes something (views do not)."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += _kernels(func, args)
        return func(*args, **(kwargs or {}))


def _kernels(func: Any, args: Any) -> int:
    """At least so many: a list times a list of other shapes (scalars) is a loop on a GPU."""
    if func.is_view:
        return 0
    lists = [given for given in args[:2] if isinstance(given, list)]
    if len(lists) == 2 and any(a.shape != b.shape for a, b in zip(*lists, strict=True)):
        return len(lists[0])
    return 1


def main() -> None:
    """Measure all rows."""
    bench = Bench("after a step", arguments(__doc__))
    for label, name in NETWORKS.items():
        network = with_gradients(backbone(name))
        ema(bench, label, network)
        lars(bench, label, network)
        groups(bench, label, network)
    queue(bench)
    codes(bench)


def with_gradients(network: nn.Module) -> nn.Module:
    """Give every parameter a gradient."""
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter) * 1e-3
    return network


def both(bench: Bench, what: str, ours: Work, loop: Work, against: str) -> None:
    """Keep a row of time and a row of operators."""
    bench.compare(f"{what}: time on a CPU", ours, loop, against=against)
    if bench.wants(what):
        mine, theirs = operators(ours), operators(loop)
        note = f"{theirs} against {mine}"
        bench.keep(f"{what}: operators", [theirs / mine], at_least(5.0), against, note=note)


def operators(work: Work) -> int:
    """Count the operators of one call, with lists as long as they are on a GPU."""
    with Operators() as seen, mock.patch.object(layerwise, "_CACHED", 1 << 60):
        work()
    return seen.count


def ema(bench: Bench, label: str, network: nn.Module) -> None:
    """Move a teacher."""
    ours, teacher = EMA(network, 0.99), copy.deepcopy(network)

    @torch.no_grad()
    def loop() -> None:
        for mine, theirs in zip(teacher.parameters(), network.parameters(), strict=True):
            mine.mul_(0.99).add_(theirs, alpha=0.01)

    both(bench, f"EMA, {label}", lambda: ours.after_step(CLOCK), loop, "loop over parameters")


def lars(bench: Bench, label: str, network: nn.Module) -> None:
    """Make a LARS step."""
    from lightly.utils.lars import LARS as LightlyLARS  # noqa: N811  a class

    ours, theirs = copy.deepcopy(network), copy.deepcopy(network)
    steps: list[Callable[[], Any]] = []
    for kind, copied in ((LARS, ours), (LightlyLARS, theirs)):
        for mine, given in zip(copied.parameters(), network.parameters(), strict=True):
            mine.grad = given.grad
        made = kind(copied.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-6)
        steps.append(made.step)
    both(bench, f"LARS step, {label}", *steps, "lightly LARS, a loop over parameters")


def groups(bench: Bench, label: str, network: nn.Module) -> None:
    """Make an AdamW step in few groups, or in one group per parameter."""
    recipe = Recipe(optimizer="adamw", lr=1e-4, weight_decay=0.05)
    module = nn.ModuleDict({"backbone": network})
    ours = build_optimizer(parameter_groups(module, recipe), recipe, batch_size=256)
    each = [
        {"params": [p], "lr": 1e-4, "weight_decay": 0.05 if p.ndim > 1 else 0.0}
        for p in network.parameters()
    ]
    theirs = torch.optim.AdamW(each)
    what = f"AdamW step, {len(ours.param_groups)} groups, {label}"
    both(bench, what, ours.step, theirs.step, "a group per parameter")


def queue(bench: Bench) -> None:
    """Push a batch into a queue."""
    ours, rows = Queue(65536, 128), torch.randn(256, 128)
    bank, at = torch.randn(65536, 128), [0]

    def loop() -> None:
        for row in rows:
            bank[at[0]] = row
            at[0] = (at[0] + 1) % len(bank)

    both(bench, "queue push, 256 rows of 65,536", lambda: ours.push(rows), loop, "loop over rows")


def codes(bench: Bench) -> None:
    """Assign a batch to prototypes."""
    scores = torch.randn(512, 3000).div(10)

    def loop() -> Tensor:
        q = torch.exp(scores / 0.05)
        for _ in range(3):
            for k in range(q.shape[1]):
                q[:, k] /= q[:, k].sum()
            for row in q:
                row /= row.sum()
        return q

    both(bench, "Sinkhorn, 512 x 3,000", lambda: sinkhorn(scores), loop, "loop over prototypes")
    bench.compare(
        "Sinkhorn, 512 x 3,000: time on a CPU",
        lambda: sinkhorn(scores),
        lambda: _lightly(scores),
        against="lightly sinkhorn, batched",
    )


def _lightly(scores: Tensor) -> Tensor:
    from lightly.loss.swav_loss import sinkhorn as theirs

    return theirs(scores)


if __name__ == "__main__":
    main()
