"""Crops on 8-bit images: where they lie, and cutting them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sslight.augment import small
from sslight.augment.reduced import Reduced
from sslight.augment.spec import ViewSpec

#: Areas and aspect ratios tried for one random crop before the fallback (as in torchvision).
ATTEMPTS = 10


def random_boxes(spec: ViewSpec, draws: Tensor, heights: Tensor, widths: Tensor) -> Tensor:
    """Choose the boxes of random resized crops (Szegedy et al., 2015).

    The distribution is that of torchvision's ``RandomResizedCrop``: up to ten attempts at an area
    (uniform) and an aspect ratio (log-uniform) that fit the image; then the largest centred box
    with an allowed ratio.

    Args:
        spec: Gives ``scale`` and ``ratio``.
        draws: ``[B, 22]`` uniform numbers: areas, ratios, top, left.
        heights: ``[B]`` int64, of the images.
        widths: ``[B]`` int64.

    Returns:
        ``[B, 4]`` int64: top, left, height, width.
    """
    area = (heights * widths).unsqueeze(1) * _between(draws[:, :ATTEMPTS], *spec.scale)
    logs = math.log(spec.ratio[0]), math.log(spec.ratio[1])
    ratio = _between(draws[:, ATTEMPTS : 2 * ATTEMPTS], *logs).exp_()
    tried_widths = (area * ratio).sqrt_().round_().to(torch.int64)
    tried_heights = (area / ratio).sqrt_().round_().to(torch.int64)
    fits = (tried_widths > 0) & (tried_widths <= widths.unsqueeze(1))
    fits &= (tried_heights > 0) & (tried_heights <= heights.unsqueeze(1))
    first = fits.to(torch.uint8).argmax(1, keepdim=True)
    height = tried_heights.gather(1, first).squeeze(1)
    width = tried_widths.gather(1, first).squeeze(1)
    top = (draws[:, 2 * ATTEMPTS] * (heights - height + 1)).to(torch.int64)
    left = (draws[:, 2 * ATTEMPTS + 1] * (widths - width + 1)).to(torch.int64)
    boxes = torch.stack([top, left, height, width], 1)
    return torch.where(fits.any(1, keepdim=True), boxes, _fallback(spec, heights, widths))


def _between(draws: Tensor, low: float, high: float) -> Tensor:
    return draws * (high - low) + low


def _fallback(spec: ViewSpec, heights: Tensor, widths: Tensor) -> Tensor:
    """Return the largest centred box whose ratio is allowed."""
    low, high = spec.ratio
    ratio = widths.to(torch.float64) / heights
    height = torch.where(ratio < low, (widths / low).round().to(torch.int64), heights)
    width = torch.where(ratio > high, (heights * high).round().to(torch.int64), widths)
    return torch.stack([(heights - height) // 2, (widths - width) // 2, height, width], 1)


def whole_boxes(heights: Tensor, widths: Tensor) -> Tensor:
    """Return boxes ``[B, 4]`` that hold the whole images."""
    return torch.stack([torch.zeros_like(heights), torch.zeros_like(widths), heights, widths], 1)


def cut(images: Sequence[Tensor | Reduced], boxes: Tensor, spec: ViewSpec) -> Tensor:
    """Cut one view out of each image.

    Args:
        images: uint8 ``[C, h, w]``, of any sizes, or reduced ones.
        boxes: ``[B, 4]``, used by random crops; in pixels of the full images.
        spec: What to cut.

    Returns:
        ``[B, C, size, size]`` uint8; channels last in memory if the first image is, as decoders
        give them: such images are resized at twice the speed.
    """
    layout = torch.channels_last if _is_interleaved(images[0]) else torch.contiguous_format
    shape = (len(images), images[0].shape[0], spec.size, spec.size)
    views = torch.empty(shape, dtype=torch.uint8, memory_format=layout)
    one_by_one: Sequence[int] = range(len(images))
    if spec.crop == "random":
        one_by_one = _cut_small(images, boxes, spec, views)
    places = boxes.tolist()
    for i in one_by_one:
        views[i] = _cut_one(images[i], places[i], spec)
    return views


def _cut_small(
    images: Sequence[Tensor | Reduced], boxes: Tensor, spec: ViewSpec, views: Tensor
) -> Sequence[int]:
    """Cut the crops of small images, a group of equal shape at a time; return the rows left."""
    groups: dict[tuple[int, int], list[int]] = {}
    left = []
    for i, image in enumerate(images):
        height, width = image.shape[-2:]
        is_whole = isinstance(image, Tensor)
        if is_whole and small.fits(height, width, spec.size, spec.interpolation):
            groups.setdefault((height, width), []).append(i)
        else:
            left.append(i)
    for rows in groups.values():
        stacked = torch.stack([images[i] for i in rows])  # type: ignore[misc]
        if len(rows) == len(images):
            views.copy_(small.resized_crops(stacked, boxes, spec.size))
        else:
            views[rows] = small.resized_crops(stacked, boxes[rows], spec.size)
    return left


def _cut_one(image: Tensor | Reduced, box: list[int], spec: ViewSpec) -> Tensor:
    if spec.crop == "random":
        return _resize_box(image, box, spec.size, spec.size, spec.interpolation)
    if spec.crop == "center":
        return center_crop(image, spec.resized, spec.size, spec.interpolation)
    if image.shape[-2:] != (spec.size, spec.size) or not isinstance(image, Tensor):
        raise ValueError(
            f"view: crop 'none' takes images of {spec.size} x {spec.size} pixels, got one of "
            f"{image.shape[-2]} x {image.shape[-1]}; write crop: center or random"
        )
    return image


def center_crop(image: Tensor | Reduced, shorter: int, size: int, interpolation: str) -> Tensor:
    """Resize the shorter side to ``shorter`` pixels and return the middle ``size`` x ``size``."""
    full = height, width = image.shape[-2:]
    if height <= width:
        height, width = shorter, int(shorter * width / height)
    else:
        height, width = int(shorter * height / width), shorter
    resized = _resize_box(image, [0, 0, *full], height, width, interpolation)
    top, left = round((height - size) / 2), round((width - size) / 2)
    return resized[:, top : top + size, left : left + size]


def _resize_box(
    image: Tensor | Reduced, box: list[int], height: int, width: int, interpolation: str
) -> Tensor:
    if not isinstance(image, Tensor):
        return image.resized(box, height, width, interpolation)
    top, left, tall, wide = box
    region = image[:, top : top + tall, left : left + wide]
    return resize(region, height, width, interpolation)


def resize(image: Tensor, height: int, width: int, interpolation: str) -> Tensor:
    """Resize a uint8 image, or a region of one, ``[C, h, w]``, with antialiasing.

    Bit for bit torchvision's ``resize``. Resizing is several times faster on memory without gaps,
    and when the batch dimension's stride marks three interleaved channels as such.
    """
    if image.shape[-2:] == (height, width):
        return image
    channels, old_height, old_width = image.shape
    if _is_interleaved(image):
        dense = image.permute(1, 2, 0).contiguous()
        strides = (dense.numel(), 1, old_width * channels, channels)
        batch = dense.as_strided((1, channels, old_height, old_width), strides)
    else:
        batch = image.contiguous().unsqueeze(0)
    return interpolate(batch, (height, width), mode=interpolation, antialias=True)[0]


def _is_interleaved(image: Tensor | Reduced) -> bool:
    """Tell whether the channels of a pixel lie side by side in memory."""
    if not isinstance(image, Tensor):
        return True
    return image.shape[0] in (3, 4) and image.stride(0) == 1 and image.stride(2) == image.shape[0]
