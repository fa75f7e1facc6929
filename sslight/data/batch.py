"""A batch between worker and device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class RawBatch:
    """Pixels and drawn parameters as a worker made them, opaque to Lightning until augmented.

    It is a class and not a dict so that Lightning's precision plugins leave it alone: under
    ``bf16-true`` they would round the drawn parameters before the augmentation reads them.
    """

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content

    def to(self, device: torch.device | str, non_blocking: bool = False) -> RawBatch:
        """Return the batch with every tensor on ``device``."""
        return RawBatch(
            map_tensors(self.content, lambda x: x.to(device, non_blocking=non_blocking))
        )

    def pin_memory(self) -> RawBatch:
        """Return the batch in page-locked memory (called by the DataLoader)."""
        return RawBatch(map_tensors(self.content, lambda x: x.pin_memory()))

    def __len__(self) -> int:
        return len(self.content["index"])


def map_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to every tensor in nested dicts and lists; leave the rest."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: map_tensors(entry, function) for key, entry in value.items()}
    if isinstance(value, list):
        return [map_tensors(entry, function) for entry in value]
    return value
