"""Jigsaw patches: one jittered crop from each cell of a grid over an image, batched."""

from __future__ import annotations

import torch
from torch import Tensor

from sslight.augment.draws import seed_of, uniforms

#: Set the draws of places and of orders apart from each other and from others of the run's seed.
_PLACES, _ORDERS = 0x706C61, 0x6F7264


def patch_side(image_side: int, grid: int = 3) -> int:
    """Give the usual side of a patch, 64/85 of a cell: 64 of 255 pixels (arXiv:1603.09246)."""
    return max(1, round(image_side // grid * 64 / 85))


def jittered_patches(
    images: Tensor,
    index: Tensor,
    *,
    seed: int,
    epoch: int,
    size: int | None = None,
    grid: int = 3,
) -> Tensor:
    """Cut one patch from each of ``grid ** 2`` cells, at a place drawn for each.

    Neighbouring patches do not touch, except by chance, so that their borders do not fit like
    puzzle pieces. Places are a function of (seed, epoch, image).

    Args:
        images: ``[B, C, H, W]``.
        index: Their dataset indices, ``[B]``.
        seed: The run's seed.
        epoch: The epoch.
        size: Side of a patch in pixels, at most a cell's; None for :func:`patch_side`.
        grid: Cells along each side.

    Returns:
        ``[B, P, C, size, size]``, from left to right, then from top to bottom.
    """
    batch, _, height, width = images.shape
    size = patch_side(min(height, width), grid) if size is None else size
    if not 1 <= size <= min(height, width) // grid:
        raise ValueError(
            f"patches: a patch of {size} pixels does not fit a cell of {height // grid} x "
            f"{width // grid}; images are {height} x {width}, the grid {grid} x {grid}. Use larger "
            "views or a smaller tile_size."
        )
    draws = uniforms(seed_of(seed, _PLACES), epoch, index, 0, 2 * grid**2).view(batch, 2, grid**2)
    cell = torch.arange(grid**2, device=images.device)
    rows = _span(draws[:, 0], cell // grid, height // grid, size)  # [B, P, size]
    columns = _span(draws[:, 1], cell % grid, width // grid, size)
    image = torch.arange(batch, device=images.device)[:, None, None, None]
    pixels = images.movedim(1, -1)[image, rows[..., None], columns[..., None, :]]
    return pixels.movedim(-1, 2).contiguous()


def _span(draws: Tensor, cell: Tensor, side: int, size: int) -> Tensor:
    """Choose ``size`` neighbouring places inside each cell: ``[B, P, size]``."""
    first = cell * side + (draws * (side - size + 1)).to(torch.int64)
    return first[..., None] + torch.arange(size, device=first.device)


def random_orders(index: Tensor, count: int, *, seed: int, epoch: int) -> Tensor:
    """Draw a permutation of ``count`` for each image, a function of (seed, epoch, image)."""
    return uniforms(seed_of(seed, _ORDERS), epoch, index, 0, count).argsort(1)


def reordered(patches: Tensor, order: Tensor) -> Tensor:
    """Put patch ``order[b, p]`` of image b at place p.

    Args:
        patches: ``[B, P, ...]``.
        order: ``[B, P]``.
    """
    return patches[torch.arange(len(patches), device=patches.device)[:, None], order]
