"""Colour jitter: brightness, contrast, saturation and hue, in an order drawn per image."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sslight.augment import color
from sslight.augment.params import BRIGHTNESS, CONTRAST, HUE, ORDERS, SATURATION

_ADJUST = {
    BRIGHTNESS: color.adjust_brightness_,
    CONTRAST: color.adjust_contrast_,
    SATURATION: color.adjust_saturation_,
    HUE: color.adjust_hue_,
}


def jitter_one_(x: Tensor, factors: Sequence[float], order: int) -> Tensor:
    """Jitter one image ``[1, C, h, w]`` in [0, 1] in place.

    Args:
        x: The image; three channels unless only the brightness changes.
        factors: Of brightness, contrast and saturation (1: leave), and turns of the hue (0: leave).
        order: Index into ``ORDERS``.
    """
    for operation in ORDERS[order]:
        factor = factors[operation]
        if factor != (0.0 if operation == HUE else 1.0):
            _ADJUST[operation](x, factor)
    return x


def jitter_(x: Tensor, blend: Tensor, hue: Tensor, hue_rows: Sequence[Tensor]) -> Tensor:
    """Jitter a batch ``[n, C, h, w]`` in [0, 1] in place, all images at once.

    Of the four operations three are the same blend with other weights, so the batch walks through
    the four places of the order together, whatever each image does there.

    Args:
        x: The images; with other than three channels only the brightness may change.
        blend: ``[n, 4, 3]`` as made by :func:`~sslight.augment.params.blends`.
        hue: ``[n]`` turns of the hue.
        hue_rows: For each of the four places, the rows whose hue turns there.
    """
    for place, rows in enumerate(hue_rows):
        keep, to_mean, to_grey = blend[:, place].view(-1, 3, 1, 1, 1).unbind(1)
        if x.shape[1] == 3:
            grey = color.luminance(x)
            mean = grey.mean((2, 3), keepdim=True)
            x.mul_(keep).add_(grey.mul_(to_grey).add_(mean.mul_(to_mean))).clamp_(0, 1)
        else:
            x.mul_(keep).clamp_(0, 1)
        if len(rows):
            turns = hue.index_select(0, rows).view(-1, 1, 1, 1)
            turned = color.adjust_hue_(x.index_select(0, rows), turns)
            x.index_copy_(0, rows, turned)
    return x
