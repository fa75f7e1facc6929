"""What Lightning and sslight add to a training step.

On a tiny network the step is nothing but overhead: all default callbacks and loggers against bare
Lightning. At ResNet-18, batch 64, a step through ``sslight.fit``'s Trainer against a plain loop;
and plain loops with and without what ``sslight.fit`` does about freed memory.
Batches are made beforehand on both sides.

    python scripts/bench_step.py
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytorch_lightning as pl
import torch
from _bench import Bench, arguments, at_most, in_fresh_process
from torch import nn

from sslight import SSLModule, backbone, config
from sslight.heap import keep_freed_memory
from sslight.methods.simclr import SimCLR
from sslight.optim import Recipe
from sslight.run.assemble import build_callbacks
from sslight.run.trainer import build_trainer, quiet_lightning

RECIPE = Recipe(optimizer="sgd", lr=0.05, weight_decay=1e-4, momentum=0.9)
WARM = 5


class Batches:
    """The same batch again and again, as sslight's data module hands it over."""

    def __init__(self, steps: int, size: int, pixels: int) -> None:
        self.steps = steps
        self.batch = {
            "views": [torch.randn(size, 3, pixels, pixels) for _ in range(2)],
            "index": torch.arange(size),
            "label": torch.randint(10, (size,)),
        }

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for _ in range(self.steps):
            yield dict(self.batch)


class Timer(pl.Callback):
    """Time from the start of step WARM to the start of the last one."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def on_train_batch_start(self, *_: Any) -> None:
        """Read the clock."""
        self.at.append(time.process_time())

    @property
    def seconds_per_step(self) -> float:
        """The mean."""
        return (self.at[-1] - self.at[WARM]) / (len(self.at) - 1 - WARM)


class Bare(pl.LightningModule):
    """The same loss in as little Lightning as there is."""

    def __init__(self, method: SimCLR) -> None:
        super().__init__()
        self.method = method

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        """Compute the loss."""
        return self.method.training_loss(batch).loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build the same optimizer."""
        return sgd(self.method)


def sgd(module: nn.Module) -> torch.optim.Optimizer:
    """Build the recipe's optimizer by hand."""
    return torch.optim.SGD(
        module.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4, fused=True
    )


def main() -> None:
    """Measure the rows."""
    args = arguments(__doc__, steps=400)
    bench = Bench("training step", args)
    tiny_step(bench)
    real_step(bench)
    kept_memory(bench)


def tiny_step(bench: Bench) -> None:
    """Milliseconds over bare Lightning."""
    method = SimCLR(Tiny(), RECIPE, hidden_dim=8, out_dim=8)
    batches = Batches(bench.args.steps, 8, 4)
    what = "a step of a tiny network, all default callbacks"
    if not bench.wants(what):
        return
    over, ours, bare = [], [], []
    for _ in range(bench.args.repeats + 1):
        bare.append(bare_fit(Bare(copy.deepcopy(method)), batches))
        ours.append(whole_fit(copy.deepcopy(method), batches))
        over.append(1e3 * (ours[-1] - bare[-1]))
    note = f"{1e3 * min(ours[1:]):.2f} ms against {1e3 * min(bare[1:]):.2f}, the quickest of each"
    bench.keep(what, over[1:], at_most(1.0, "ms"), "bare Lightning", note=note)


def real_step(bench: Bench) -> None:
    """The same step in a plain loop that lays out memory as sslight does."""
    method = SimCLR(backbone("resnet18"), RECIPE).to(memory_format=torch.channels_last)
    batches = Batches(WARM + 4, 64, 32)
    bench.compare(
        "a step of ResNet-18, batch 64 at 32 px",
        lambda: whole_fit(copy.deepcopy(method), batches),
        lambda: loop(copy.deepcopy(method), batches),
        against="plain PyTorch loop, channels last too",
        reach=at_most(1.01),
    )


def kept_memory(bench: Bench) -> None:
    """The same steps, freed memory kept for the next one as ``sslight.fit`` does on a CPU.

    Each in a process of its own: what was kept once is used by what comes after.
    """
    bench.compare(
        "a step of ResNet-18, batch 16 at 224 px, freed memory kept",
        lambda: in_fresh_process(steps, True),
        lambda: in_fresh_process(steps, False),
        against="glibc as it is",
        reach=at_most(0.9),
    )


def steps(keep: bool) -> float:
    """Train in a plain loop."""
    method = SimCLR(backbone("resnet18"), RECIPE).to(memory_format=torch.channels_last)
    with keep_freed_memory("cpu") if keep else nullcontext():
        return loop(method, Batches(WARM + 4, 16, 224))


class Tiny(nn.Module):
    """A backbone that costs nothing."""

    embed_dim = 8

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(48, 8)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Embed images."""
        return self.layer(images.flatten(1))


def whole_fit(method: SSLModule, batches: Batches) -> float:
    """Train as ``sslight fit`` does: its Trainer, callbacks and loggers."""
    node = {"callbacks": config.load("_base_/pretrain")["callbacks"]}
    options = {"max_epochs": 1, "log_every_n_steps": 10, "accelerator": "cpu"}
    with TemporaryDirectory() as folder, quiet_lightning():
        timer = Timer()
        callbacks = [*build_callbacks(node, ()), timer]
        trainer = build_trainer(options, Path(folder), callbacks)
        trainer.fit(method, batches)
    return timer.seconds_per_step


def bare_fit(module: pl.LightningModule, batches: Batches) -> float:
    """Train under a Trainer without callbacks and loggers."""
    timer = Timer()
    with quiet_lightning():
        pl.Trainer(
            max_epochs=1,
            logger=False,
            callbacks=[timer],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            accelerator="cpu",
        ).fit(module, batches)
    return timer.seconds_per_step


def loop(method: SimCLR, batches: Batches) -> float:
    """Train as in a tutorial."""
    optimizer, at = sgd(method), []
    for batch in batches:
        at.append(time.process_time())
        loss = method.training_loss(batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (at[-1] - at[WARM]) / (len(at) - 1 - WARM)


if __name__ == "__main__":
    main()
