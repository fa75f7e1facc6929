"""Colour jitter and grey as one affine map of an image's colours: quick, and near the exact ones.

Brightness, contrast, saturation and grey are affine in a pixel's colour and the image's mean
colour, and so is a turn about the grey axis of YIQ, which stands in for the turn of the hue. All of
them, in the drawn order, are one matrix and one shift per image (DALI's colour twist). Values are
clamped once, at the end, and not after each operation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_GREY = (0.2989, 0.587, 0.114)
#: Colours to luma, which is that of the exact operations, and chroma.
_YIQ = (_GREY, (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))


def colour_twists(blend: Tensor, hue: Tensor, turn_at: Tensor, grey: Tensor) -> Tensor:
    """Compose what is drawn for each image.

    Args:
        blend: ``[B, 4, 3]`` as made by :func:`~sslight.augment.params.blends`.
        hue: Turns of the colour circle ``[B]``.
        turn_at: The place of the hue among the four ``[B]``.
        grey: 1 where the image becomes grey ``[B]``.

    Returns:
        ``[B, 2, 3, 3]``: matrices M and N with which a colour c of an image of mean colour m
        becomes M c + N m.
    """
    one, to_grey = torch.eye(3), torch.tensor(_GREY).expand(3, 3)
    own, mean = one.expand(len(blend), 3, 3), torch.zeros(len(blend), 3, 3)
    turn = _turns(hue)
    for place in range(4):
        keep, to_mean, to_own = blend[:, place].view(-1, 3, 1, 1).unbind(1)
        step = torch.where(_each(turn_at == place), turn, keep * one + to_own * to_grey)
        own, mean = step @ own, step @ mean + to_mean * (to_grey @ (own + mean))
    last = torch.where(_each(grey > 0), to_grey, one)
    return torch.stack([last @ own, last @ mean], 1)


def _turns(hue: Tensor) -> Tensor:
    """Turn the chroma by a share of the circle ``[B]``, and leave the luma: ``[B, 3, 3]``."""
    angle = hue * (2 * math.pi)
    cos, sin, none = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = ((none + 1, none, none), (none, cos, sin), (none, -sin, cos))
    turned = torch.stack([torch.stack(row, 1) for row in rows], 1)
    yiq = torch.tensor(_YIQ)
    matrices: Tensor = torch.linalg.inv(yiq) @ turned @ yiq
    return matrices


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1)


def twist_(x: Tensor, twist: Tensor) -> Tensor:
    """Map the colours of a float batch ``[n, 3, h, w]`` in [0, 1] in place, clamped to it."""
    pixels = x.flatten(2)
    own, of_mean = twist.unbind(1)
    shift = of_mean @ pixels.mean(2, keepdim=True)
    x.copy_(torch.baddbmm(shift, own, pixels).clamp_(0, 1).view_as(x))
    return x
