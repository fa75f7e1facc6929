"""What SSLModule keeps track of for a method: length, loss per step, who moves after a step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from sslight import strategies
from sslight.distributed import broadcast
from sslight.utils import say_once


def training_length(trainer: pl.Trainer) -> tuple[int, int]:
    """Return the optimizer steps of the whole training and of one epoch."""
    batches = strategies.batches_per_epoch(trainer)
    total = trainer.estimated_stepping_batches
    if math.isinf(total) or math.isinf(batches):
        raise ValueError(
            "Schedules need the length of training: set Trainer(max_epochs=...) or max_steps, and "
            "give a loader that has a length."
        )
    return int(total), math.ceil(batches / trainer.accumulate_grad_batches)


class LossWindow:
    """The mean loss over the micro-batches of an optimizer step, kept on the device."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None

    def add(self, loss: Tensor, micro_batches: int) -> Tensor:
        """Add one micro-batch's loss and return the mean so far, counting the missing as zero."""
        share = loss.detach() / micro_batches
        self._sum = share if self._sum is None else self._sum + share
        return self._sum

    def clear(self) -> None:
        """Start the next step."""
        self._sum = None


def row_step(finished: int) -> Tensor:
    """Return a step for the loggers; Lightning takes a metric of that name as the row's step."""
    return torch.tensor(finished, dtype=torch.float64)


def ticking(module: nn.Module) -> Iterator[Any]:
    """Yield submodules with ``after_step``, in registration order, none inside another one."""
    found: list[str] = []
    for name, submodule in module.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if submodule is not module and not inside and hasattr(submodule, "after_step"):
            found.append(name)
            yield submodule


def large_buffers(module: nn.Module) -> list[str]:
    """Return the full names of buffers that their modules list as ``large_buffers``.

    Queues and banks stay equal on all ranks by construction and need no broadcast at each step.
    """
    return [
        f"{prefix}.{name}" if prefix else name
        for prefix, submodule in module.named_modules()
        for name in getattr(submodule, "large_buffers", ())
    ]


def share_large_buffers(module: nn.Module) -> None:
    """Make every rank start from rank 0's :func:`large_buffers`: ranks may have drawn others."""
    buffers = dict(module.named_buffers())
    for name in large_buffers(module):
        if name in buffers:
            broadcast(buffers[name])


def warn_of_accumulation(method: str) -> None:
    """Say once that a method's loss on micro-batches is not its loss on the whole batch."""
    say_once(
        f"{method}: accumulating gradients is not the same as a larger batch for this loss (it "
        "compares images with each other). For an exact large batch use "
        "train_step: {name: gradcache, chunk: 64} and no accumulation."
    )
