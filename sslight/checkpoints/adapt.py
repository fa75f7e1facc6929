"""Tensors made to fit a backbone of another image size or other channels; each change is said."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from sslight.modules.positions import resized_grid

State = dict[str, Tensor]


def adapted(backbone: nn.Module, state: State) -> tuple[State, list[str]]:
    """Fit channels, position embeddings and mask token; return the state and what was done.

    Args:
        backbone: The network to fit.
        state: Tensors by the backbone's names; not changed.
    """
    own, state, said = backbone.state_dict(), dict(state), []
    first = _first_convolution(backbone)
    if first in state and _differ_in_channels(state[first], own[first]):
        theirs, ours = state[first].shape[1], own[first].shape[1]
        state[first] = with_channels(state[first], ours)
        said.append(f"{first}: {_channels_said(theirs, ours)}")
    if "pos_embed" in state and "pos_embed" in own and state["pos_embed"].ndim == 3:
        said += _fit_positions(backbone, state)
    if "mask_token" in state and "mask_token" in own and state["mask_token"].ndim == 2:
        state["mask_token"] = state["mask_token"][None]  # DINOv2's lacks the batch's dimension
    return state, said


def with_channels(weight: Tensor, channels: int) -> Tensor:
    """A first convolution ``[O, C, h, w]`` for images of another number of channels.

    Input channels are repeated in turn and scaled by the ratio, so that equal planes in give the
    same out; to one channel they are summed, which is exact for grey images in three equal planes.
    """
    theirs = weight.shape[1]
    if channels == 1:
        return weight.sum(1, keepdim=True)
    return weight[:, torch.arange(channels) % theirs] * (theirs / channels)


def _channels_said(theirs: int, ours: int) -> str:
    how = "summed" if ours == 1 else f"repeated in turn and scaled by {theirs}/{ours}"
    return f"the file's {theirs} input channels were {how} for the backbone's {ours}"


def _first_convolution(backbone: nn.Module) -> str:
    names = (f"{n}.weight" for n, m in backbone.named_modules() if isinstance(m, nn.Conv2d))
    return next(names, "")


def _differ_in_channels(theirs: Tensor, ours: Tensor) -> bool:
    same = theirs.ndim == ours.ndim == 4 and theirs.shape[0] == ours.shape[0]
    return same and theirs.shape[2:] == ours.shape[2:] and theirs.shape[1] != ours.shape[1]


def _fit_positions(backbone: Any, state: State) -> list[str]:
    """Resize the grid of position embeddings; fold the class token's into the token if need be."""
    theirs, ours = state["pos_embed"], backbone.pos_embed
    new = _grid(backbone)
    if theirs.shape[2] != ours.shape[2] or new is None:
        return []
    old, prefix = _square(theirs.shape[1])
    wanted = ours.shape[1] - new[0] * new[1]
    said = []
    if (prefix, wanted) == (1, 0) and "cls_token" in state:
        # DINOv2 with registers: only the class token has a position, added to the token itself.
        state["cls_token"] = state["cls_token"] + theirs[:, :1]
        theirs, prefix = theirs[:, 1:], 0
        said.append("pos_embed: the class token's position was added to cls_token")
    if prefix == wanted and (old, old) != new:
        patches = resized_grid(theirs[:, prefix:], (old, old), new)
        theirs = torch.cat([theirs[:, :prefix], patches], dim=1)
        said.append(f"pos_embed: interpolated from {old} x {old} patches to {new[0]} x {new[1]}")
    state["pos_embed"] = theirs
    return said


def _grid(backbone: Any) -> tuple[int, int] | None:
    """Rows and columns of the patches that the backbone (ours or timm's) has positions for."""
    holder = backbone if hasattr(backbone, "grid_size") else getattr(backbone, "patch_embed", None)
    grid = getattr(holder, "grid_size", None)
    return (int(grid[0]), int(grid[1])) if grid else None


def _square(positions: int) -> tuple[int, int]:
    """Side of the largest square grid in a number of positions, and what is left: its prefix."""
    side = math.isqrt(positions)
    return side, positions - side * side
