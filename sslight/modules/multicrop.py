"""Crops of several resolutions through one backbone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor, nn


def forward_crops(backbone: nn.Module, views: Sequence[Tensor]) -> Tensor:
    """Embed V crops ``[B, C, H, W]``, of any sizes, into ``[VB, D]``, crop-major.

    Neighbouring crops of one size go through the backbone together (Caron et al., 2020,
    arXiv:2006.09882), so batch norm sees them together, and each further size costs one more pass.
    """
    if not views:
        raise ValueError("forward_crops: got no views; each batch needs at least one.")
    runs = [list(run) for _, run in groupby(views, key=lambda view: view.shape[1:])]
    parts = [backbone(torch.cat(run) if len(run) > 1 else run[0]) for run in runs]
    return torch.cat(parts) if len(parts) > 1 else parts[0]
