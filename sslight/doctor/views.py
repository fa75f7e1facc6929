"""A sheet of views: what the method will see of some images, beside the images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from sslight.augment.views import ViewMaker
from sslight.callbacks.view_grid import draw_grid
from sslight.data.errors import ImageError
from sslight.data.sources.base import Source
from sslight.doctor.images import load, spread

#: Cells narrower than this are enlarged, or nobody could see a view of 32 pixels.
_CELL = 96
Statistics = tuple[tuple[float, ...] | None, tuple[float, ...] | None]


def draw_sheet(source: Source, maker: ViewMaker, path: Path, rows: int = 8) -> int:
    """Write a PNG: a row per image; the first column is the image, the others are its views.

    Args:
        source: The split to learn from, opened.
        maker: Makes the views; those of epoch 0 are drawn.
        path: The file.
        rows: Images, spread evenly over the split; unreadable ones are left out.

    Returns:
        Images drawn; 0, and no file, where none could be read.
    """
    from torchvision.io import write_png

    images, index = _readable(source, rows)
    if not images:
        return 0
    batch = maker.apply(maker.fetch(images, 0, torch.tensor(index)))
    views: list[Tensor] = batch["views"]
    side = max(max(view.shape[-2:]) for view in views)
    columns = [_originals(images, side), *views]
    grid = draw_grid(columns, _statistics(maker, len(views)))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(_enlarged(grid, side), str(path))
    return len(images)


def _readable(source: Source, rows: int) -> tuple[list[Tensor], list[int]]:
    images, index = [], []
    for i in spread(len(source), rows).tolist():
        try:
            images.append(load(source, i))
        except ImageError:
            continue
        index.append(i)
    return images, index


def _originals(images: Sequence[Tensor], side: int) -> Tensor:
    """Fit whole images into white squares: float ``[B, C, side, side]`` in [0, 1]."""
    canvas = torch.ones(len(images), len(images[0]), side, side)
    for cell, image in zip(canvas, images, strict=True):
        height, width = image.shape[-2:]
        scale = side / max(height, width)
        size = max(round(height * scale), 1), max(round(width * scale), 1)
        small = F.interpolate(image[None].float() / 255, size, mode="bilinear", antialias=True)[0]
        top, left = (side - size[0]) // 2, (side - size[1]) // 2
        cell[:, top : top + size[0], left : left + size[1]] = small.clamp(0, 1)
    return canvas


def _statistics(maker: ViewMaker, n_views: int) -> list[Statistics] | None:
    """(mean, std) of each column; None, so that each is stretched, where the maker does not say."""
    found: list[Statistics] = [(s.mean, s.std) for s in maker.specs for _ in range(s.count)]
    return [(None, None), *found] if len(found) == n_views else None


def _enlarged(grid: Tensor, side: int) -> Tensor:
    times = math.ceil(_CELL / side)
    return grid.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)
