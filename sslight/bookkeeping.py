"""What SSLModule keeps track of for a method: length, loss per step, who moves after a step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from sslight import strategies
from sslight.distributed import broadcast
from sslight.errors import RefusedRunError
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


def check_batch(method: str, batch: Mapping[str, Any], needs: Sequence[str], views: str) -> None:
    """Raise if a batch lacks keys that a method reads."""
    missing = [key for key in needs if key not in batch]
    if missing:
        raise ValueError(
            f"{method} needs {missing} in each batch, which holds {sorted(batch)}. Use "
            f"data.views: {{name: {views}}}, or a dataset that yields them."
        )


def update_metrics(
    metrics: nn.ModuleDict, logits: Tensor | Mapping[str, Tensor], label: Tensor
) -> None:
    """Feed torchmetrics the rows whose label is known.

    Where there are several heads, ``logits`` are by head, and ``head/top1`` is a metric of one.
    """
    known = (label >= 0) if label.ndim == 1 else (label >= 0).any(dim=1)
    for name, metric in metrics.items():
        own = logits if isinstance(logits, Tensor) else logits[name.rpartition("/")[0]]
        cast(Any, metric).update(own[known], label[known])


def check_tokens(method: str, backbone: nn.Module, needed: bool) -> None:
    """Raise if a method reads patch tokens and its backbone has none."""
    if needed and not hasattr(backbone, "tokens"):
        raise RefusedRunError(
            f"{method} reads patch tokens, which {type(backbone).__name__} does not have. Use a "
            "vision transformer, such as backbone: {name: vit_s_16}; `sslight list backbones` "
            "shows them all."
        )


def check_memory(method: str, rows: int | None, num_images: int | None) -> None:
    """Raise if a memory with a row per image cannot be made, or was made for other data.

    Args:
        method: Its name in a config.
        rows: Rows of the memory; None if it is still to be made.
        num_images: Images of the training data, where they are known.
    """
    if rows is None and num_images is None:
        raise RefusedRunError(
            f"{method}: the number of training images is unknown, and the memory has a row for "
            "each. Use an SSLDataModule, or set method.num_images."
        )
    if rows is not None and num_images not in (None, rows):
        raise RefusedRunError(
            f"{method}: the memory has {rows} rows, but the training data has {num_images} images. "
            f"Leave num_images out, or make it {num_images}."
        )
