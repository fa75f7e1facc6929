"""``fake``: random noise of any size, for benchmarks and dry runs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sslight.data.sources._labels import fingerprint
from sslight.data.sources.base import Source


class Fake(Source):
    """Images of uniform noise: image i is a function of (split, i, size, channels).

    Nothing is stored, and an image costs about what it costs to fill its bytes.

    Args:
        num_images: Number of images.
        size: Height and width in pixels.
        channels: Number of channels; 3 unless something else is to be tried.
        num_classes: Labels are i modulo this; 0 gives no labels.
    """

    def __init__(
        self, num_images: int = 1000, size: int = 224, channels: int = 3, num_classes: int = 10
    ) -> None:
        for name, value in (("num_images", num_images), ("size", size), ("channels", channels)):
            if value < 1:
                raise ValueError(f"fake: {name} must be at least 1, got {value}.")
        if num_classes < 0:
            raise ValueError(f"fake: num_classes must be 0 (no labels) or more, got {num_classes}.")
        self.num_images = num_images
        self.size = size
        self.channels = channels
        self.num_classes = num_classes

    def open(self) -> None:
        """Number the labels."""
        if self.labels is None and self.num_classes:
            self.labels = np.arange(self.num_images, dtype=np.int64) % self.num_classes
            self.classes = [str(c) for c in range(self.num_classes)]

    def __len__(self) -> int:
        return self.num_images

    def load(self, i: int) -> Tensor:
        """Returns image ``i``: uint8 ``[channels, size, size]``."""
        self._check(i)
        draw = np.random.default_rng([i, *self.split.encode()])
        shape = (self.channels, self.size, self.size)
        return torch.from_numpy(draw.integers(0, 256, shape, dtype=np.uint8))

    def id(self, i: int) -> str:
        """Returns ``fake/<split>/<i>``."""
        self._check(i)
        return f"fake/{self.split}/{i}"

    def _check(self, i: int) -> None:
        if not 0 <= i < self.num_images:
            raise IndexError(f"fake: image {i} of {self.num_images}")

    def fingerprint(self) -> str:
        """Returns a hash of what decides the images."""
        kind = f"fake {self.split} {self.size} {self.channels} {self.num_classes}"
        return fingerprint(kind, self.num_images, None, None)
