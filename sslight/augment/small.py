"""Crops of small images, many at once, bit for bit those of the per-image resize.

A resize call costs 60 microseconds before it touches a pixel: more than everything else done to an
image of 32 pixels. Torch resizes 8-bit images with integer weights (16 bits, horizontal pass first,
rounded to 8 bits in between). With those weights in a table, all crops of a batch are two batched
matrix products in which all sums of such integers are exact: the result depends neither on the
batch, nor on the library, nor on the order of summation.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

#: Largest image side served from a table, and largest table in numbers.
_MAX_SIDE = 40
_MAX_TABLE = 1 << 20


def fits(height: int, width: int, size: int, interpolation: str) -> bool:
    """Tell whether crops of such images are cut from a table."""
    side = max(height, width)
    table = side * (side + 1) // 2 * side * size
    return interpolation == "bilinear" and side <= _MAX_SIDE and table <= _MAX_TABLE


def resized_crops(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Cut ``boxes`` out of equal-sized images and resize them, bilinear and antialiased.

    Args:
        images: ``[B, C, h, w]`` uint8.
        boxes: ``[B, 4]`` int64: top, left, height, width.
        size: Side of the square result.

    Returns:
        ``[B, C, size, size]`` uint8.
    """
    batch, channels, height, width = images.shape
    top, left, box_height, box_width = boxes.unbind(1)
    dtype = _exact_dtype(max(height, width), size)
    across = _table(width, size, dtype)[_row(left, box_width, width)]  # [B, w, s]
    down = _table(height, size, dtype)[_row(top, box_height, height)]  # [B, h, s]
    lines = images.transpose(1, 2).to(dtype, memory_format=torch.contiguous_format)
    lines = lines.view(batch, height * channels, width)
    rows = torch.bmm(lines, across).add_(0.5).floor_()  # [B, h * C, s]
    rows = rows.view(batch, height, channels * size)
    out = torch.bmm(down.transpose(1, 2), rows).add_(0.5)  # [B, s, C * s]
    return out.to(torch.uint8).view(batch, size, channels, size).transpose(1, 2)


def _exact_dtype(side: int, size: int) -> torch.dtype:
    """Return a type in which all sums are exact.

    Without shrinking, weights have at most 15 bits after the point and pixels 8 before it: 24 bits
    hold every sum. That needs products in full float32, which a user may have traded for speed.
    """
    matmul = getattr(torch.backends.mkldnn, "matmul", None)
    if matmul is None:  # torch < 2.9
        full = torch.get_float32_matmul_precision() == "highest"
    else:
        full = matmul.fp32_precision in ("none", "ieee")
    return torch.float32 if full and size >= side else torch.float64


def _row(start: Tensor, length: Tensor, side: int) -> Tensor:
    """Return where a table holds the crop of ``length`` pixels from ``start`` on."""
    shorter = length - 1
    return shorter * (side + 1) - shorter * (shorter + 1) // 2 + start


@lru_cache(maxsize=8)
def _table(side: int, size: int, dtype: torch.dtype) -> Tensor:
    """Return the weights of every crop of a line of ``side`` pixels, ``[n, side, size]``.

    Ordered by length, then by start; the weights are torch's integers over their power of two.
    """
    table = torch.zeros(side * (side + 1) // 2, side, size, dtype=dtype)
    row = 0
    for length in range(1, side + 1):
        weights = _weights(length, size)
        for start in range(side - length + 1):
            table[row, start : start + length] = weights
            row += 1
    return table


def _weights(length: int, size: int) -> Tensor:
    """Return the weights ``[length, size]`` with which ``length`` pixels become ``size``."""
    scale = length / size
    reach = max(scale, 1.0)
    center = (torch.arange(size, dtype=torch.float64) + 0.5) * scale
    first = (center - reach + 0.5).to(torch.int64).clamp_min(0)
    last = (center + reach + 0.5).to(torch.int64).clamp_max(length)
    pixel = torch.arange(length).unsqueeze(1)
    inside = (pixel >= first) & (pixel < last)
    weights = (1 - ((pixel - center + 0.5) * (1 / reach)).abs()).clamp_min(0) * inside
    weights /= weights.sum(0)
    unit = 1 << _precision(weights.max().item())
    return (weights * unit + 0.5).floor() / unit


def _precision(largest: float) -> int:
    """Return how many bits after the point torch gives 16-bit weights with this largest one."""
    for bits in range(22):
        if int(0.5 + largest * (1 << (bits + 1))) >= 1 << 15:
            return bits
    return 22
