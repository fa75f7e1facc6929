"""From 8-bit crops to finished float views: everything that changes pixels after the crop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from sslight.augment import color
from sslight.augment.blur import blur_one_, gaussian_blur
from sslight.augment.jitter import jitter_, jitter_one_
from sslight.augment.params import (
    COLUMNS,
    Params,
    affected_rows,
    column,
    unpack_rows,
)
from sslight.augment.photometric import photometric_
from sslight.augment.spec import ViewSpec
from sslight.augment.twist import twist_

#: On a CPU, images of so many values are finished one by one: what is worked on stays in the cache.
_ALONE = 1 << 16

#: Smaller ones are finished this many values at a time: fewer would cost more in calls than they
#: save in the cache, more would only cost memory.
_PIECE = 1 << 20

#: Columns that the photometric operations take.
PHOTOMETRIC = ("levels", "sharpness", "threshold")

#: What a view's parameters hold for each image, and is cut with them.
_PER_IMAGE = ("table", "blend", "twist")


def finish(images: Tensor, params: Params, spec: ViewSpec) -> Tensor:
    """Apply the drawn parameters of one view.

    Args:
        images: ``[B, C, s, s]`` uint8 on any device.
        params: As drawn for these images, on the same device.
        spec: The view.

    Returns:
        ``[B, C, s, s]`` float32, contiguous. On a CPU an image's result does not depend on the
        others in its batch beyond rounding (1e-6).
    """
    if images.device.type != "cpu":
        out = to_float(images)
        finish_batch_(out, params, unpack_rows(params["rows"], params["spans"]), spec)
        return out
    out = torch.empty(images.shape, dtype=torch.float32)
    if images[:1].numel() >= _ALONE:
        for i, values in enumerate(params["table"].tolist()):
            one = out[i : i + 1].copy_(images[i : i + 1]).mul_(1 / 255)
            twist = params["twist"][i : i + 1] if spec.twists else None
            _finish_one_(one, dict(zip(COLUMNS, values, strict=True)), spec, twist)
        return out
    step = max(1, _PIECE // max(1, images[:1].numel()))
    for start in range(0, len(images), step):
        piece = slice(start, start + step)
        part: Params = {key: params[key][piece] for key in _PER_IMAGE if key in params}
        out[piece].copy_(images[piece]).mul_(1 / 255)
        finish_batch_(out[piece], part, affected_rows(part["table"]), spec)
    return out


def to_float(images: Tensor) -> Tensor:
    """Return uint8 images as contiguous float32 in [0, 1]."""
    return images.to(torch.float32, memory_format=torch.contiguous_format, copy=True).mul_(1 / 255)


def finish_batch_(x: Tensor, params: Params, rows: dict[str, Tensor], spec: ViewSpec) -> None:
    """Finish a float batch in place; only ``rows`` are touched where an operation is drawn."""
    table = params["table"]
    _change_(x, rows["flip"], lambda part: part.flip(3))
    _change_(x, rows["vertical_flip"], lambda part: part.flip(2))
    if spec.twists:
        twist_(x, params["twist"])
    elif spec.jitter > 0:
        hue_rows = [rows[f"hue{k}"] for k in range(4)]
        jitter_(x, params["blend"], column(table, "hue"), hue_rows)
    if len(rows["photometric"]):
        drawn = table.index_select(0, rows["photometric"])
        values = [column(drawn, name).view(-1, 1, 1, 1) for name in PHOTOMETRIC]
        _change_(x, rows["photometric"], lambda part: photometric_(part, *values))
    if not spec.twists:
        _change_(x, rows["grey"], color.to_grey_)
    if len(rows["blur"]):
        sigma = column(table, "sigma").index_select(0, rows["blur"])
        _change_(x, rows["blur"], lambda part: gaussian_blur(part, sigma, spec.kernel))
    _change_(x, rows["solarize"], partial(color.solarize_, threshold=spec.solarize_threshold))
    color.normalise_(x, spec.mean, spec.std)


def _change_(x: Tensor, rows: Tensor, operation: Callable[[Tensor], Tensor]) -> None:
    if len(rows):
        x.index_copy_(0, rows, operation(x.index_select(0, rows)))


def _finish_one_(x: Tensor, values: dict[str, float], spec: ViewSpec, twist: Tensor | None) -> None:
    """Finish one float image ``[1, C, s, s]`` in place."""
    if values["flip"]:
        x.copy_(x.flip(3))
    if values["vertical_flip"]:
        x.copy_(x.flip(2))
    if twist is not None:
        twist_(x, twist)
    else:
        factors = [values[name] for name in ("brightness", "contrast", "saturation", "hue")]
        jitter_one_(x, factors, int(values["order"]))
    if values["levels"]:
        photometric_(x, *(values[name] for name in PHOTOMETRIC))
    if values["grey"] and twist is None:
        color.to_grey_(x)
    if values["sigma"]:
        blur_one_(x, values["sigma"], spec.kernel)
    if values["solarize"]:
        color.solarize_(x, spec.solarize_threshold)
    color.normalise_(x, spec.mean, spec.std)
