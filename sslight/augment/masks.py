"""Block-wise masks of patch grids, as parts of a batch: drawn in the worker, per sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sslight.augment.draws import uniforms

#: Blocks tried for one mask, and how many of them may fail in a row before the rest is scattered.
_TRIES = 48
_PATIENCE = 10
_ASPECT = 0.3


@dataclass(frozen=True)
class BlockMasks:
    """Masks made of rectangles, of BEiT (arXiv:2106.08254, algorithm 1), iBOT and DINOv2.

    A view is masked with probability ``prob``; then exactly ``round(ratio * P)`` of its P patches
    are, with the ratio uniform in ``ratio``. Rectangles are placed one after the other, each with
    an area between ``min_block`` and what is still missing and a log-uniform aspect in
    [0.3, 1 / 0.3]; one that adds nothing, or too much, is drawn again. After ten failures in a row
    single patches, chosen at random, make the number exact.

    Adds ``masks``: one bool ``[B, P]`` per view, True where masked, patches row by row; and
    ``n_masked``, how many patches that are, for whoever gathers them on the device.

    Args:
        grid: Patches along each side of a view: P = grid * grid.
        views: How many views, the first ones, get masks.
        prob: Probability that a view is masked at all.
        ratio: Smallest and largest share of masked patches.
        min_block: Smallest area of a rectangle in patches.

    Note:
        The public code of iBOT and DINOv2 stops short of the number asked for where no rectangle
        fits, and none may be as long as the grid's side; DINOv2 masks just half of a batch's views
        and stratifies their ratios. Here the number is exact, a rectangle may reach from side to
        side, and a sample's mask does not depend on the rest of its batch.
    """

    grid: int
    views: int = 2
    prob: float = 0.5
    ratio: tuple[float, float] = (0.1, 0.5)
    min_block: int = 4

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratio", tuple(self.ratio))
        check_whole("masks", grid=self.grid, views=self.views, min_block=self.min_block)
        check_share("masks", "prob", (self.prob, self.prob))
        check_share("masks", "ratio", self.ratio)

    def draw(self, seed: int, epoch: Tensor | int, index: Tensor) -> dict[str, Any]:
        """Draw the masks of the samples ``index`` ``[B]``."""
        patches = self.grid * self.grid
        n = 2 + 4 * _TRIES + patches
        draws = torch.cat([uniforms(seed, epoch, index, view, n) for view in range(self.views)])
        masked, ratio, blocks, noise = torch.split(draws, [1, 1, 4 * _TRIES, patches], 1)
        low, high = self.ratio
        counts = ((low + (high - low) * ratio) * patches).round_() * (masked < self.prob)
        mask = _fill_blocks(counts.long().squeeze(1), blocks, self.grid, self.min_block)
        mask = _complete(mask.flatten(1), counts.long(), noise)
        masks = list(mask.view(self.views, len(index), patches))
        return {"masks": masks, "n_masked": int(mask.sum())}


def _fill_blocks(counts: Tensor, draws: Tensor, grid: int, smallest: int) -> Tensor:
    """Place rectangles in ``[B, grid, grid]`` masks, never more than ``counts`` ``[B]`` patches."""
    mask = torch.zeros(len(counts), grid, grid, dtype=torch.bool)
    missing, failures = counts.clone(), torch.zeros_like(counts)
    log_aspect = math.log(_ASPECT)
    for area, aspect, top, left in draws.view(len(counts), _TRIES, 4).permute(1, 2, 0):
        running = (missing > 0) & (failures < _PATIENCE)
        if not running.any():
            break
        size = smallest + (missing - smallest) * area
        half = (log_aspect * (1 - 2 * aspect)).mul_(0.5).exp_()
        height, width = (size.sqrt() * half).round_(), (size.sqrt() / half).round_()
        block = rectangles(*_placed(height, top, grid), *_placed(width, left, grid), grid)
        added = (block & ~mask).sum((1, 2))
        fits = (height <= grid) & (width <= grid) & (added > 0) & (added <= missing) & running
        mask |= block & fits[:, None, None]
        missing -= added * fits
        failures = torch.where(fits, 0, failures + 1)
    return mask


def _complete(mask: Tensor, counts: Tensor, noise: Tensor) -> Tensor:
    """Mask further patches of ``[B, P]``, those of the smallest noise, up to ``counts`` [B, 1]."""
    order = torch.where(mask, -1.0, noise).argsort(1)
    return torch.zeros_like(mask).scatter_(1, order, torch.arange(mask.shape[1]) < counts)


def _placed(length: Tensor, draw: Tensor, grid: int) -> tuple[Tensor, Tensor]:
    """Return the first line of blocks of that length, anywhere in the grid, and the length."""
    return (draw * (grid - length + 1)).floor_(), length


def rectangles(top: Tensor, height: Tensor, left: Tensor, width: Tensor, grid: int) -> Tensor:
    """Return masks ``[..., grid, grid]`` of rectangles given by ``[...]`` numbers."""
    lines = torch.arange(grid)
    top, left = top.unsqueeze(-1), left.unsqueeze(-1)
    rows = (lines >= top) & (lines < top + height.unsqueeze(-1))
    columns = (lines >= left) & (lines < left + width.unsqueeze(-1))
    return rows.unsqueeze(-1) & columns.unsqueeze(-2)


def check_whole(what: str, **numbers: int) -> None:
    """Raise a ValueError unless all numbers are whole and positive."""
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{what}: {name} must be a whole number from 1 on, got {value!r}")


def check_share(what: str, name: str, values: tuple[float, ...]) -> None:
    """Raise a ValueError unless ``values`` is a pair low <= high within [0, 1]."""
    if len(values) != 2 or not 0 <= values[0] <= values[1] <= 1:
        got = values[0] if len(set(values)) == 1 else values
        raise ValueError(f"{what}: {name} must lie within [0, 1], low before high; got {got!r}")
