"""Which patches are hidden: random masks, drawn from each image's counter on its device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sslight.augment.draws import seed_of, uniforms

#: Sets masking's stream of draws apart from the views'.
_STREAM = 0x6D61736B


def mask_noise(seed: int, epoch: int, index: Tensor, views: int, n: int) -> Tensor:
    """Draw ``n`` numbers in [0, 1) for each of the ``views`` views of each image, ``[VB, n]``.

    A function of (seed, epoch, dataset index, view); view-major, as views are concatenated.
    """
    stream = seed_of(seed, _STREAM)
    return torch.cat([uniforms(stream, epoch, index, view, n) for view in range(views)])


def random_masking(noise: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
    """Hide the patches with the largest noise, as many in every image (MAE, arXiv:2111.06377).

    Args:
        noise: ``[B, P]``.
        ratio: Share of hidden patches; ``floor(P * (1 - ratio))`` stay visible.

    Returns:
        The visible patches ``[B, K]`` (int64, by rising noise) and the mask ``[B, P]``, true where
        hidden.

    Raises:
        ValueError: all patches would be visible, or none.
    """
    patches = noise.shape[1]
    visible = math.floor(patches * (1 - ratio) + 1e-9)  # 10 x (1 - 0.9) is 1, whatever floats say
    if not 0 < visible < patches:
        raise ValueError(
            f"masking: with mask_ratio {ratio} {visible} of {patches} patches stay visible; at "
            "least one must, and at least one be hidden. Change the ratio, or use more patches."
        )
    keep = noise.argsort(dim=1, stable=True)[:, :visible]
    return keep, torch.ones_like(noise, dtype=torch.bool).scatter_(1, keep, False)


def square_masking(noise: Tensor, grid: tuple[int, int], unit: int, ratio: float) -> Tensor:
    """Hide squares of ``unit`` x ``unit`` patches, as many in every image (SimMIM).

    Args:
        noise: ``[B, U]``, one number per square, row by row; the smallest are hidden.
        grid: Rows and columns of patches.
        unit: Side of a square in patches.
        ratio: Share of hidden squares, rounded up.

    Returns:
        ``[B, P]``, true where hidden.
    """
    rows, columns = grid[0] // unit, grid[1] // unit
    hidden = math.ceil(rows * columns * ratio - 1e-9)
    chosen = noise.argsort(dim=1, stable=True)[:, :hidden]
    squares = torch.zeros_like(noise, dtype=torch.bool).scatter_(1, chosen, True)
    squares = squares.view(-1, rows, 1, columns, 1).expand(-1, -1, unit, -1, unit)
    return squares.reshape(len(noise), -1)
