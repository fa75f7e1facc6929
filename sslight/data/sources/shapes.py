"""``shapes``: the embedded dataset. Drawn, not downloaded; the same pictures everywhere."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from sslight.data.sources._drawing import SHAPES, render, uniforms
from sslight.data.sources.base import Source

_KEPT = 24_000_000  # pixels: the images of a small set are drawn once, at open(), and stay
_AT_ONCE = (
    640  # images per round, about a tenth of which are of one class: their arrays fit a cache
)


class Shapes(Source):
    """Ten classes of shapes on textured backgrounds, RGB, of any size.

    Image i depends on (seed, split, i) alone, not on ``num_images``; ``size`` is its resolution.
    Every ten images in a row hold each class once. The splits of one seed share no image.

    Note:
        Up to 24 million pixels (72 MB: 23,000 images of 32 x 32) are drawn by ``open()``, about
        3000 small images a second, into one tensor, which worker processes share. Larger sets
        are drawn image by image as they are loaded, and cost no memory.

    Args:
        num_images: Number of images.
        size: Height and width in pixels, at least 8.
        seed: Another seed gives other images of the same kind.
        tilt: Degrees that a shape may lean from upright; 180 is any direction.
        single: One copy about the middle, as large as the image; otherwise several, anywhere.
    """

    def __init__(
        self,
        num_images: int = 5000,
        size: int = 32,
        seed: int = 0,
        tilt: float = 180.0,
        single: bool = False,
    ) -> None:
        if num_images < 1:
            raise ValueError(f"shapes: num_images must be at least 1, got {num_images}.")
        if size < 8:
            raise ValueError(f"shapes: size must be at least 8 pixels, got {size}.")
        if not 0 <= tilt <= 180:
            raise ValueError(f"shapes: tilt is an angle of 0 to 180 degrees, got {tilt}.")
        self.num_images = num_images
        self.size = size
        self.tilt = tilt
        self.single = single
        self.seed = seed
        self._stream: int | None = None
        self._images: Tensor | None = None

    def open(self) -> None:
        """Number the labels and, if the set is small, draw it."""
        stream = _stream(self.seed, self.split)
        if stream == self._stream:
            return
        self._stream = stream
        self.classes = list(SHAPES)
        self.labels = _labels(stream, self.num_images)
        self._drawn = self.labels  # align() may renumber the labels, not the pictures
        small = self.num_images * self.size**2 <= _KEPT
        self._images = torch.from_numpy(self._draw_all()) if small else None
        self.in_memory = small

    def _draw_all(self) -> np.ndarray:
        images = np.empty((self.num_images, 3, self.size, self.size), np.uint8)
        for start in range(0, self.num_images, _AT_ONCE):
            rows = np.arange(start, min(start + _AT_ONCE, self.num_images))
            images[rows] = self._draw(rows)
        return images

    def _draw(self, rows: np.ndarray) -> np.ndarray:
        stream = _stream(self.seed, self.split)
        images = np.empty((len(rows), 3, self.size, self.size), np.uint8)
        for label, name in enumerate(SHAPES):
            mine = self._drawn[rows] == label
            if mine.any():
                images[mine] = render(name, stream, rows[mine], self.size, self.tilt, self.single)
        return images

    def __len__(self) -> int:
        return self.num_images

    def load(self, i: int) -> Tensor:
        """Returns image ``i``: uint8 ``[3, size, size]``."""
        self._check(i)
        self.open()
        if self._images is not None:
            return self._images[i]
        return torch.from_numpy(self._draw(np.array([i]))[0])

    def id(self, i: int) -> str:
        """Returns ``shapes/<split>/<i>``."""
        self._check(i)
        return f"shapes/{self.split}/{i}"

    def _check(self, i: int) -> None:
        if not 0 <= i < self.num_images:
            raise IndexError(f"shapes: image {i} of {self.num_images}")

    def fingerprint(self) -> str:
        """Returns a hash of what decides the images."""
        text = f"shapes 1 {self.seed} {self.split} {self.num_images} {self.size}"
        text += f" tilt {self.tilt}" if self.tilt < 180 else ""
        text += " single" if self.single else ""
        return hashlib.sha256(text.encode()).hexdigest()


def _stream(seed: int, split: str) -> int:
    digest = hashlib.sha256(f"{seed}/{split}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


def _labels(stream: int, n: int) -> np.ndarray:
    """Shuffles the classes anew for every ten images: balanced, and a function of the row alone."""
    classes = len(SHAPES)
    blocks = np.arange(-(-n // classes))
    order = np.argsort(uniforms(stream + 1, blocks, classes), axis=0, kind="stable")
    return order.T.reshape(-1)[:n].astype(np.int64)
