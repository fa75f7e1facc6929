"""What several callbacks share: speaking once, switching off, adding up over ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from sslight.distributed import is_distributed, sum_over_ranks
from sslight.utils import logger


def say(trainer: pl.Trainer, message: str) -> None:
    """Log one line, on rank 0."""
    if trainer.is_global_zero:
        logger.warning(message)


def switch_off(callback: Any, trainer: pl.Trainer, reason: str) -> None:
    """Mark a callback as off (its ``off`` attribute) and say why, once."""
    if not callback.off:
        callback.off = True
        say(trainer, f"callback {type(callback).__name__} is off: {reason}")


def total_over_ranks(counts: Tensor, device: torch.device) -> Tensor:
    """Add counts up over ranks, exactly, and bring them to the CPU."""
    if is_distributed():
        counts = sum_over_ranks(counts.to(device, torch.float64))
    return counts.cpu()


def as_labels(labels: Any) -> Tensor:
    """Copy labels (array, memory map or tensor) into an int64 tensor."""
    return torch.from_numpy(np.array(labels, dtype=np.int64))


def label_trouble(labels: Any, split: str) -> str | None:
    """Say why labels cannot serve a classification probe; None if they can.

    Args:
        labels: ``[N]`` or ``[N, K]`` array or tensor, or None.
        split: Name of the split, for the sentence.
    """
    if labels is None or not bool((labels >= 0).any()):
        return f"split '{split}' has no labels."
    if labels.ndim != 1:
        return f"split '{split}' has several labels per image, which it does not handle."
    return None
