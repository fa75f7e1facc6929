"""Crops of several resolutions through one backbone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor


def forward_crops(backbone: Callable[[Tensor], Tensor], views: Sequence[Tensor]) -> Tensor:
    """Embed V crops ``[B, C, H, W]``, of any sizes, into ``[VB, D]``, crop-major.

    Neighbouring crops of one size go through the backbone together (Caron et al., 2020,
    arXiv:2006.09882), so batch norm sees them together, and each further size costs one more pass.
    """
    if not views:
        raise ValueError("forward_crops: got no views; each batch needs at least one.")
    parts = [backbone(run) for run in runs_of_a_size(views)]
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def runs_of_a_size(views: Sequence[Tensor]) -> list[Tensor]:
    """Concatenate neighbouring crops ``[B, C, H, W]`` of one size; one tensor per run of them."""
    runs = [list(run) for _, run in groupby(views, key=lambda view: view.shape[1:])]
    return [torch.cat(run) if len(run) > 1 else run[0] for run in runs]


def forward_tokens(
    backbone: Any,
    global_views: Sequence[Tensor],
    local_views: Sequence[Tensor] = (),
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Give a transformer's class tokens of all crops and patch tokens of the global ones.

    Args:
        backbone: Has ``tokens(images, mask)`` and a class token.
        global_views: G crops ``[B, C, H, W]`` of one size.
        local_views: L further crops, of any sizes.
        mask: ``[GB, P]``, true where a global crop's patch is hidden.

    Returns:
        ``[(G + L)B, D]`` and ``[GB, P, D]``, crop-major.
    """
    if backbone.n_prefix < 1:
        raise ValueError(
            "This method compares class tokens, and the backbone has none; leave class_token true."
        )
    tokens = backbone.tokens(torch.cat(list(global_views)), mask=mask)
    cls, patches = tokens[:, 0], tokens[:, backbone.n_prefix :]
    if local_views:
        local = forward_crops(lambda images: backbone.tokens(images)[:, 0], local_views)
        cls = torch.cat([cls, local])
    return cls, patches
