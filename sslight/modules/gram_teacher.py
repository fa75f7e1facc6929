"""The Gram teacher: an earlier teacher that the similarities among patches are held to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sslight.modules.multicrop import forward_tokens
from sslight.modules.positions import resized_grid
from sslight.modules.snapshot import Snapshot


class GramTeacher(Snapshot):
    """A :class:`Snapshot` of a vision transformer that gives the features of patches.

    Of DINOv3 (Siméoni et al., 2025, arXiv:2508.10104, section 4.2 and 4.3).
    """

    @torch.no_grad()
    def anchors(self, images: Sequence[Tensor], grid: tuple[int, int]) -> Tensor:
        """Give features ``[GB, P, D]`` of G crops' patches, of ``grid`` rows and columns.

        Larger crops than the student's have more patches; their features are resized to the grid,
        bicubic, which leaves them smoother than those of crops of its size.
        """
        teacher: Any = self.copy
        _, patches = forward_tokens(teacher, images)
        return resized_grid(patches, teacher.grid(images[0]), grid)
