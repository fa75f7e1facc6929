"""The two records that travel between data, module and method."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict

from torch import Tensor


class Batch(TypedDict, total=False):
    """One batch on its way to a method. View makers may add further keys.

    ``views`` is a list of ``[B, C, H, W]`` float images, global crops first, ``n_global`` of them;
    ``index`` ``[B]`` holds dataset indices; ``label`` is ``[B]`` int64 with -1 for "none", or
    ``[B, K]`` in {1, 0, -1} where -1 is ignored. The last ones are what :mod:`sslight.augment`'s
    masks and anchors add.
    """

    index: Tensor
    views: list[Tensor]
    n_global: int
    label: Tensor
    masks: list[Tensor]
    n_masked: int
    anchors: list[Tensor]
    context: Tensor
    targets: Tensor
    target_valid: Tensor
    mask_grid: int


@dataclass
class StepOutput:
    """What ``training_loss`` returns.

    Attributes:
        loss: Scalar to minimise.
        embedding: Backbone output ``[kB, D]``, crop-major, for probes (the base detaches it).
        logs: Extra scalars; they are read only on logging steps, so leave them on the device.
    """

    loss: Tensor
    embedding: Tensor | None = None
    logs: dict[str, Tensor] = field(default_factory=dict)
