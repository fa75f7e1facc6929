"""Colour operations on float batches ``[n, C, h, w]`` in [0, 1], in place, one factor per image.

Each equals torchvision's functional of the same name on float images to 1e-5. A factor is a float
for all images or a tensor that broadcasts over the batch, ``[n, 1, 1, 1]``. Every function returns
the tensor it was given.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Below this spread of channels a pixel has no hue; keeps the division finite.
_TINY = 1e-30


def luminance(x: Tensor) -> Tensor:
    """Return the grey image ``[n, 1, h, w]``: 0.2989 R + 0.587 G + 0.114 B (ITU-R 601)."""
    red, green, blue = x.unbind(1)
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).unsqueeze(1)


def mean_luminance(x: Tensor) -> Tensor:
    """Return the mean grey value of each image, ``[n, 1, 1, 1]``."""
    red, green, blue = x.mean((2, 3), keepdim=True).unbind(1)
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).unsqueeze(1)


def adjust_brightness_(x: Tensor, factor: Tensor | float) -> Tensor:
    """Scale all values by ``factor``."""
    return x.mul_(factor).clamp_(0, 1)


def adjust_contrast_(x: Tensor, factor: Tensor | float) -> Tensor:
    """Move all values away from (factor > 1) or towards the image's mean grey."""
    return _blend_(x, mean_luminance(x), factor)


def adjust_saturation_(x: Tensor, factor: Tensor | float) -> Tensor:
    """Move each pixel away from (factor > 1) or towards its own grey."""
    return _blend_(x, luminance(x), factor)


def _blend_(x: Tensor, anchor: Tensor, factor: Tensor | float) -> Tensor:
    return x.mul_(factor).add_(anchor.mul_(1 - factor)).clamp_(0, 1)


def adjust_hue_(x: Tensor, turns: Tensor | float) -> Tensor:
    """Turn the hue by a share of the colour circle; value and saturation stay.

    Exact, as torchvision's through HSV, without forming HSV: with V the largest and m the smallest
    channel of a pixel, each channel becomes m + (V - m) * ramp(hue), where the ramps are piecewise
    linear in the turned hue.
    """
    red, green, blue = x.unbind(1)
    low = torch.minimum(red, green)
    chroma = torch.maximum(red, green)
    torch.minimum(low, blue, out=low)
    torch.maximum(chroma, blue, out=chroma).sub_(low)
    turned = _hue_(x, low, chroma).add_(turns if isinstance(turns, float) else turns.squeeze(1))
    # From here on the channels are room for what they become: fresh memory costs more than sums.
    sextant = turned.sub_(torch.floor(turned, out=red)).mul_(6)
    torch.sub(sextant, 3, out=red).abs_().sub_(1)
    torch.sub(sextant, 2, out=green).abs_().neg_().add_(2)
    torch.sub(sextant, 4, out=blue).abs_().neg_().add_(2)
    for channel in (red, green, blue):
        torch.addcmul(low, chroma, channel.clamp_(0, 1), out=channel)
    return x


def _hue_(x: Tensor, low: Tensor, chroma: Tensor) -> Tensor:
    """Return the hue in turns, in [-0.5, 0.5]; any finite number where a pixel is grey.

    With the channels rescaled so that the smallest is 0 and the largest 1, the distance from red is
    1 - R + G + B sixths of a turn, on the side of the larger of G and B. This needs no selection by
    the largest channel, which costs more than all arithmetic here. Red is overwritten.
    """
    red, green, blue = x.unbind(1)
    distance = (green + blue).sub_(red).sub_(low)
    distance.div_(torch.clamp(chroma, min=_TINY, out=red)).add_(1)
    return distance.copysign_(torch.sub(green, blue, out=red)).mul_(1 / 6)


def to_grey_(x: Tensor) -> Tensor:
    """Replace all three channels by the grey image."""
    return x.copy_(luminance(x).expand_as(x))


def solarize_(x: Tensor, threshold: Tensor | float) -> Tensor:
    """Invert all values from ``threshold`` on."""
    return x.copy_(torch.where(x >= threshold, 1 - x, x))


def normalise_(x: Tensor, mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> Tensor:
    """Subtract the mean and divide by the standard deviation, per channel; None: leave as is."""
    if mean is None or std is None:
        return x
    channels = x.shape[1]
    means, stds = (v * channels if len(v) == 1 else v for v in (mean, std))
    # Numbers instead of a tensor: no copy to the device, which the host would wait for.
    for plane, m, s in zip(x.unbind(1), means, stds, strict=True):
        plane.sub_(m).mul_(1 / s)
    return x
