"""The parameters of a view: drawn per sample on the host, carried along, read on the device.

One uniform number per slot and sample; slots are fixed, so switching an operation on or off leaves
the draws of the others alone, and new slots may only be added at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from sslight.augment.crop import ATTEMPTS, random_boxes, whole_boxes
from sslight.augment.draws import uniforms
from sslight.augment.spec import ViewSpec
from sslight.augment.twist import colour_twists

_CROP = slice(0, 2 * ATTEMPTS + 2)
_SLOT = {
    name: 2 * ATTEMPTS + 2 + k
    for k, name in enumerate(
        (
            *("flip", "vertical_flip", "jitter", "brightness", "contrast", "saturation", "hue"),
            *("order", "grey", "blur", "sigma", "solarize"),
            *("photometric", "levels", "sharpness", "threshold"),
        )
    )
}
_SLOTS = 2 * ATTEMPTS + 2 + len(_SLOT)

#: Columns of ``params["table"]``, float32. ``order`` counts ORDERS; where the jitter is off all
#: four factors are neutral. ``sigma`` is 0 where there is no blur, ``levels`` where the photometric
#: operations are off. The rest are 0 or 1.
COLUMNS = (
    *("flip", "vertical_flip", "brightness", "contrast", "saturation", "hue"),
    *("order", "grey", "sigma", "solarize"),
    *("levels", "sharpness", "threshold"),
)
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
ORDERS = tuple(permutations((BRIGHTNESS, CONTRAST, SATURATION, HUE)))

Params = dict[str, Any]


def column(table: Tensor, name: str) -> Tensor:
    """Return the column ``name`` of a parameter table, ``[B]``."""
    return table[:, COLUMNS.index(name)]


def draw_params(
    spec: ViewSpec,
    seed: int,
    epoch: Tensor | int,
    index: Tensor,
    view: int,
    heights: Tensor,
    widths: Tensor,
) -> Params:
    """Draw all parameters of one view.

    Args:
        spec: The view.
        seed: The run's seed.
        epoch: One epoch, or ``[B]``.
        index: Dataset indices ``[B]``.
        view: Number of the view among all views of a sample.
        heights: Of the source images, ``[B]`` int64.
        widths: Likewise.

    Returns:
        ``crop`` ``[B, 4]`` int64 (top, left, height, width of the region that was resized);
        ``table`` ``[B, len(COLUMNS)]`` float32; ``blend`` ``[B, 4, 3]`` float32, see
        :func:`blends`; ``rows`` and ``spans``, see :func:`pack_rows`; with ``colors: linear``
        also ``twist`` ``[B, 2, 3, 3]``, see :func:`~sslight.augment.twist.colour_twists`.
    """
    draws = uniforms(seed, epoch, index, view, _SLOTS)
    crop = _boxes(spec, draws, heights, widths)
    table = _table(spec, draws)
    rows, spans = pack_rows(affected_rows(table))
    blend = blends(table)
    params = {"crop": crop, "table": table, "blend": blend, "rows": rows, "spans": spans}
    if spec.twists:
        hue, grey = column(table, "hue"), column(table, "grey")
        params["twist"] = colour_twists(blend, hue, _place_of_hue(table), grey)
    return params


def draw_boxes(
    spec: ViewSpec, seed: int, epoch: int, index: int, views: Sequence[int], height: int, width: int
) -> Tensor:
    """Draw nothing but the crops of several views of one image.

    Args:
        spec: The views.
        seed: The run's seed.
        epoch: The epoch.
        index: Dataset index of the image.
        views: Their numbers among all views of a sample.
        height: Of the source image.
        width: Likewise.

    Returns:
        ``[len(views), 4]`` int64: the rows of ``crop`` that :func:`draw_params` has for them.
    """
    rows, heights, widths = (torch.full((len(views),), n) for n in (index, height, width))
    return _boxes(spec, uniforms(seed, epoch, rows, views, _CROP.stop), heights, widths)


def _boxes(spec: ViewSpec, draws: Tensor, heights: Tensor, widths: Tensor) -> Tensor:
    if spec.crop == "random":
        return random_boxes(spec, draws[:, _CROP], heights, widths)
    return whole_boxes(heights, widths)


def _table(spec: ViewSpec, draws: Tensor) -> Tensor:
    def drawn(name: str) -> Tensor:
        return draws[:, _SLOT[name]]

    jittered = drawn("jitter") < spec.jitter
    columns = {
        name: drawn(name) < getattr(spec, name)
        for name in ("flip", "vertical_flip", "grey", "solarize")
    }
    for name in ("brightness", "contrast", "saturation", "hue"):
        low, high = spec.factor_range(name)
        neutral = 0.0 if name == "hue" else 1.0
        columns[name] = torch.where(jittered, low + drawn(name) * (high - low), neutral)
    columns["order"] = (drawn("order") * len(ORDERS)).floor()
    low, high = spec.blur_sigma
    sigma = low + drawn("sigma") * (high - low)
    columns["sigma"] = torch.where(drawn("blur") < spec.blur, sigma, 0.0)
    # PIRL's in VISSL, on 8 bits: of 4 to 8 bits, a factor of 0.1 to 1.9, inverted from 0 to 256 on
    changed = drawn("photometric") < spec.photometric
    bits = 4 + (drawn("levels") * 5).to(torch.int64)
    columns["levels"] = torch.where(changed, torch.ones_like(bits) << bits, 0)
    columns["sharpness"] = torch.where(changed, 0.1 + drawn("sharpness") * 1.8, 1.0)
    columns["threshold"] = torch.where(changed, (drawn("threshold") * 257).floor() / 255, 2.0)
    return torch.stack([columns[name].to(torch.float32) for name in COLUMNS], 1)


def affected_rows(table: Tensor) -> dict[str, Tensor]:
    """Return the rows each operation changes; ``hue0`` to ``hue3`` by its place in the order."""
    names = ("flip", "vertical_flip", "grey", "solarize")
    rows = {name: column(table, name).nonzero().squeeze(1) for name in names}
    rows["blur"] = column(table, "sigma").nonzero().squeeze(1)
    rows["photometric"] = column(table, "levels").nonzero().squeeze(1)
    place = _place_of_hue(table)
    turned = column(table, "hue") != 0
    for k in range(4):
        rows[f"hue{k}"] = (turned & (place == k)).nonzero().squeeze(1)
    return rows


def _place_of_hue(table: Tensor) -> Tensor:
    places = torch.tensor([order.index(HUE) for order in ORDERS])
    return places[column(table, "order").to(torch.int64)]


def pack_rows(rows: dict[str, Tensor]) -> tuple[Tensor, dict[str, tuple[int, int]]]:
    """Join row lists into one tensor and host-side (start, stop) pairs.

    A device can then pick the affected rows without the host waiting to learn how many there are,
    and one tensor is moved instead of many.
    """
    spans, start = {}, 0
    for name, entry in rows.items():
        spans[name] = (start, start + len(entry))
        start += len(entry)
    return torch.cat(list(rows.values())), spans


def unpack_rows(packed: Tensor, spans: dict[str, tuple[int, int]]) -> dict[str, Tensor]:
    """Undo :func:`pack_rows`, on any device."""
    return {name: packed[start:stop] for name, (start, stop) in spans.items()}


def blends(table: Tensor) -> Tensor:
    """Return brightness, contrast and saturation as one kind of operation, in drawn order.

    Each is ``clamp(a x + b mean + c grey)`` with the image's mean grey and the pixel's grey:
    ``[B, 4, 3]`` holds a, b, c of the four places; (1, 0, 0) where it is the hue's turn.
    """
    places = torch.tensor(ORDERS)[column(table, "order").to(torch.int64)]  # [B, 4]
    factors = torch.ones(len(table), 4)
    start = COLUMNS.index("brightness")
    factors[:, :HUE] = table[:, start : start + HUE]
    factor = factors.gather(1, places)
    rest = 1 - factor
    return torch.stack([factor, rest * (places == CONTRAST), rest * (places == SATURATION)], 2)
