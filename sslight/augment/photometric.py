"""PIRL's four operations, one after the other, on float batches ``[n, C, h, w]`` in [0, 1].

Posterize, sharpness, solarize and autocontrast, as in VISSL. All work in place, with one value per
image: a float for all images or a tensor that broadcasts over the batch, ``[n, 1, 1, 1]``. Each
equals torchvision's functional of the same name on float images to 1e-5; a value on the border of
two levels, or at the threshold, may come to lie on either side.
"""

from __future__ import annotations

from torch import Tensor

from sslight.augment.color import solarize_

#: Below this spread a channel has one value: rounding is not to be stretched into an image.
_FLAT = 1e-5


def photometric_(
    x: Tensor, levels: Tensor | float, sharpness: Tensor | float, threshold: Tensor | float
) -> Tensor:
    """Posterize, change the sharpness, solarize, and stretch the contrast; return ``x``."""
    posterize_(x, levels)
    adjust_sharpness_(x, sharpness)
    solarize_(x, threshold)
    return autocontrast_(x)


def posterize_(x: Tensor, levels: Tensor | float) -> Tensor:
    """Round values down to so many levels, a power of 2."""
    return x.mul_(levels).floor_().clamp_(max=levels - 1).div_(levels)


def adjust_sharpness_(x: Tensor, factor: Tensor | float) -> Tensor:
    """Move values away from (factor > 1) or towards a smoothed image; the border stays.

    The smoothed image is PIL's: 5/13 of the pixel and 1/13 of each neighbour.
    """
    if min(x.shape[2:]) < 3:
        return x
    inner = x[:, :, 1:-1, 1:-1]
    apart = _box_sums(x).mul_(1 / 13).sub_(inner, alpha=9 / 13)  # of the smoothed image
    inner.add_(apart.mul_(1 - factor))
    return x.clamp_(0, 1)


def _box_sums(x: Tensor) -> Tensor:
    """Sum each inner pixel with its neighbours (a pooling layer takes 30 times as long)."""
    lines = (x[:, :, :-2] + x[:, :, 1:-1]).add_(x[:, :, 2:])
    return (lines[..., :-2] + lines[..., 1:-1]).add_(lines[..., 2:])


def autocontrast_(x: Tensor) -> Tensor:
    """Stretch each channel of an image to [0, 1]; one of a single value stays."""
    low = x.amin((2, 3), keepdim=True)
    spread = x.amax((2, 3), keepdim=True).sub_(low)
    flat = spread < _FLAT
    return x.sub_(low.masked_fill_(flat, 0)).div_(spread.masked_fill_(flat, 1)).clamp_(0, 1)
