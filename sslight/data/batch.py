"""A batch between worker and device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sslight.augment.views import IMAGES
from sslight.data.transfer import map_tensors, transferred


class RawBatch:
    """Pixels and drawn parameters as a worker made them, opaque to Lightning until augmented.

    It is a class and not a dict so that Lightning's precision plugins leave it alone: under
    ``bf16-true`` they would round the drawn parameters before the augmentation reads them.
    """

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content

    def to(self, device: torch.device | str) -> RawBatch:
        """Return the batch with every tensor on ``device``; Lightning passes no more than that."""
        return RawBatch(transferred(self.content, torch.device(device)))

    def pin_memory(self) -> RawBatch:
        """Return the batch in page-locked memory (called by the DataLoader)."""
        return RawBatch(map_tensors(self.content, lambda x: x.pin_memory()))

    def __len__(self) -> int:
        return len(self.content["index"])


def convert_images(batch: dict[str, Any], convert: Callable[[Tensor], Tensor]) -> None:
    """Give a finished batch's images another type, and nothing else in it."""
    for name in IMAGES.keys() & batch.keys():
        batch[name] = [convert(images) for images in batch[name]]
