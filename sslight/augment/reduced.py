"""Images decoded at a fraction of their size: how far views allow it, and how they are cut.

A JPEG is decoded several times as fast at 1/2, 1/4 or 1/8 of its size. That is enough for a view
which is shrunk by at least as much; the views say how far an image may be reduced before it is
decoded, and speak of it in pixels of its full size afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

#: By what an image can be divided: what libjpeg offers.
FACTORS = (1, 2, 4, 8)

#: A region that becomes a view must hold this many times the view's pixels, in height and width,
#: after the reduction. At 1 no view is enlarged, and the pixels change less than by the choice
#: between bilinear and bicubic (tests/numerics/test_draft.py measures both).
MARGIN = 1.0


@runtime_checkable
class Reduced(Protocol):
    """An image at a fraction of its size, in place of a tensor ``[C, h, w]``."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the full image."""

    def resized(self, box: Sequence[int], height: int, width: int, interpolation: str) -> Tensor:
        """Resize a region, with antialiasing.

        Args:
            box: Top, left, height and width in pixels of the full image.
            height: Of the result.
            width: Of the result.
            interpolation: ``bilinear`` or ``bicubic``.

        Returns:
            uint8 ``[C, height, width]``.
        """


@runtime_checkable
class Reducing(Protocol):
    """A view maker whose ``fetch`` takes reduced images, and which says how far to reduce."""

    def reduction(self, epoch: int, index: int, height: int, width: int) -> int:
        """Return the largest of ``FACTORS`` that leaves every view of an image its pixels."""


def largest_factor(shrink: float) -> int:
    """Return how far an image may be reduced whose views are shrunk by ``shrink`` or more."""
    return max([factor for factor in FACTORS if factor * MARGIN <= shrink], default=1)
