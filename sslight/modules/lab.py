"""From sRGB to CIE L*a*b*: lightness and two colour axes that distance means something in."""

from __future__ import annotations

import torch
from torch import Tensor

from sslight.losses.precision import full_precision

#: Linear sRGB to XYZ over the white point D65 (2 degrees), as in scikit-image's ``rgb2lab``.
_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
_WHITE = (0.95047, 1.0, 1.08883)


@full_precision
def rgb_to_lab(images: Tensor) -> Tensor:
    """Convert sRGB images ``[B, 3, ...]`` in [0, 1] to L in [0, 100], a and b within about 110.

    Values outside [0, 1] are clipped. Grey is a = b = 0, to 0.01.
    """
    if images.ndim < 2 or images.shape[1] != 3:
        raise ValueError(
            f"rgb_to_lab: takes RGB images [B, 3, ...] in [0, 1], got {tuple(images.shape)}."
        )
    x, y, z = (_root(plane) for plane in _xyz(images))
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def _xyz(images: Tensor) -> list[Tensor]:
    """Undo the gamma curve and mix the channels; numbers instead of a matrix need no transfer."""
    images = images.clamp(0, 1)
    curved = ((images + 0.055) / 1.055).clamp(min=0) ** 2.4
    red, green, blue = torch.where(images > 0.04045, curved, images / 12.92).unbind(1)
    return [
        (r * red + g * green + b * blue) / white
        for (r, g, b), white in zip(_XYZ, _WHITE, strict=True)
    ]


def _root(t: Tensor) -> Tensor:
    return torch.where(t > 0.008856, t.clamp(min=0.008856) ** (1 / 3), 7.787 * t + 16 / 116)
