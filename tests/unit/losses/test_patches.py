from __future__ import annotations

import pytest
import torch

from sslight.losses.patches import patchify


def test_order_of_patches_and_values():
    """Rows of patches, then rows of pixels with their channels together."""
    images = torch.arange(2 * 4 * 6).view(1, 2, 4, 6)  # value = 24 c + 6 y + x
    patches = patchify(images, 2)
    assert patches.shape == (1, 6, 8)
    assert patches[0, 0].tolist() == [0, 24, 1, 25, 6, 30, 7, 31]
    assert patches[0, :, 0].tolist() == [0, 2, 4, 12, 14, 16]


def test_sizes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"4 x 6 pixels.*multiples of 4"):
        patchify(torch.zeros(1, 3, 4, 6), 4)
