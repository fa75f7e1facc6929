"""Quarter turns of square images, drawn per image from its counter."""

from __future__ import annotations

import torch
from torch import Tensor

from sslight.augment.draws import seed_of, uniforms

#: Sets rotation's stream of draws apart from the views'.
_STREAM = 0x726F74


def draw_turns(seed: int, epoch: int, index: Tensor, view: int = 0) -> Tensor:
    """Draw 0, 1, 2 or 3 quarter turns for each image, ``[B]`` int64, all equally likely.

    Args:
        seed: The run's seed.
        epoch: The epoch.
        index: Dataset indices ``[B]``.
        view: Which view of the image.
    """
    return (4 * uniforms(seed_of(seed, _STREAM), epoch, index, view, 1)[:, 0]).long()


def turned(images: Tensor, turns: Tensor) -> Tensor:
    """Turn each of ``[B, C, S, S]`` images by its own ``turns`` ``[B]`` times 90 degrees.

    The direction is that of :func:`torch.rot90`, from H to W: counter-clockwise as displayed. The
    host never looks at ``turns``: all four turns are made, and each image picks one.
    """
    rows = torch.arange(len(images), device=images.device)
    return torch.stack(all_turns(images))[turns.to(images.device), rows]


def all_turns(images: Tensor) -> list[Tensor]:
    """Turn ``[B, C, S, S]`` images by 0, 90, 180 and 270 degrees."""
    if images.ndim != 4 or images.shape[2] != images.shape[3]:
        raise ValueError(
            f"rotation: turns square images [B, C, S, S], got {tuple(images.shape)}. Use views of "
            "equal height and width."
        )
    return [torch.rot90(images, turn, (2, 3)) for turn in range(4)]
