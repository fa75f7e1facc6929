"""A JPEG decoded at a fraction of its size, and regions of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Draft:
    """An upright RGB image at 1/``factor`` of its size.

    Regions are given in pixels of the full image. Their edges lie between the pixels of the reduced
    one and are not rounded to these: that alone would change a view more than the reduction does.

    Attributes:
        image: The reduced image.
        factor: What its height and width were divided by, rounding up.
        height: Of the full image.
        width: Of the full image.
    """

    image: Image
    factor: int
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the full image."""
        return 3, self.height, self.width

    def resized(self, box: Sequence[int], height: int, width: int, interpolation: str) -> Tensor:
        """Resize a region with antialiasing; see :class:`sslight.augment.reduced.Reduced`."""
        from PIL.Image import Resampling

        top, left, tall, wide = box
        edges = (left, top, left + wide, top + tall)
        region = self.image.resize(
            (width, height),
            Resampling[interpolation.upper()],
            box=tuple(edge / self.factor for edge in edges),  # type: ignore[arg-type]
        )
        return torch.from_numpy(np.array(region)).permute(2, 0, 1)


def draft(image: Image, factor: int, orientation: int) -> Draft | None:
    """Decode an opened JPEG at 1/``factor`` of its size; None where that cannot be done.

    A turned image is divided only as far as its sides can be: the pixel that holds what is left
    over would come first, and regions are counted from there.

    Args:
        image: A JPEG as Pillow opens it, not loaded.
        factor: 1, 2, 4 or 8.
        orientation: The EXIF orientation, 1 to 8.
    """
    height, width = image.height, image.width
    while orientation != 1 and (height % factor or width % factor):
        factor //= 2
    if factor == 1 or image.draft(None, (width // factor, height // factor)) is None:
        return None
    image.load()
    upright = _upright(image if image.mode == "RGB" else image.convert("RGB"), orientation)
    if swaps_sides(orientation):
        height, width = width, height
    return Draft(upright, factor, height, width)


def swaps_sides(orientation: int) -> bool:
    """Tell whether an image of this EXIF orientation lies on its side."""
    return orientation >= 5


def _upright(image: Image, orientation: int) -> Image:
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image if orientation == 1 else image.transpose(turns[orientation])
