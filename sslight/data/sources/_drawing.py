"""Draws the pictures of ``shapes``: several copies of one shape, all else random.

A crop of any part of an image shows at least one copy, and two copies share nothing but their
class: each has its own place, size, angle, colour and fill. So the class is what two augmented
views have in common, while pixels, colours and positions say nearly nothing about it. The shapes
cover about the same area, so that the mean brightness does not give the class away either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # float32 [B, 1, 1] or [B, S, S], unless said
Field = Callable[[Array, Array], Array]

_CELLS = [(column, row) for row in (-1, 0, 1) for column in (-1, 0, 1)]
_STROKES = 6
_REACH = 1.35  # no shape reaches further from its centre, in units of its radius
_TURN = 2 * np.pi


def uniforms(key: int, index: NDArray[np.int64], n: int) -> Array:
    """Returns ``[n, len(index)]`` numbers in [0, 1), each a function of (key, index, row) only.

    Splitmix64 on a counter. It is kept apart from the draws of the augmentation, so that a seed
    gives the same pictures whatever becomes of those.
    """
    stream = _mix(np.array([key & 0xFFFFFFFFFFFFFFFF], np.uint64))
    start = _mix(index.astype(np.uint64) + stream)
    steps = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return (_mix(start + steps[:, None]) >> np.uint64(11)) * 2.0**-53


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class _Dice:
    """Hands out draws for a batch of images, one number per image and throw."""

    def __init__(self, key: int, index: NDArray[np.int64]) -> None:
        self._rows = iter(uniforms(key, index, 256))

    def __call__(self, low: float = 0.0, high: float = 1.0) -> Array:
        """Returns ``[B, 1, 1]`` numbers between ``low`` and ``high``."""
        return _per_image(low + (high - low) * next(self._rows))

    def angle(self, tilt: float = 180.0) -> tuple[Array, Array]:
        """Returns cosine and sine ``[B, 1, 1]`` of a direction, ``tilt`` degrees from 0 at most."""
        draw = next(self._rows)
        angle = _TURN * draw if tilt >= 180 else np.deg2rad(tilt) * (2 * draw - 1)
        return _per_image(np.cos(angle)), _per_image(np.sin(angle))

    def colour(self, light: Array, strength: float) -> Array:
        """Returns RGB ``[B, 3, ...]`` of about this lightness and of any hue."""
        hue, chroma = _TURN * next(self._rows), strength * next(self._rows)
        thirds = [_per_image(chroma * np.cos(hue - _TURN * k / 3)) for k in range(3)]
        return np.stack([light + third for third in thirds], axis=1)


def _per_image(x: Array) -> Array:
    return x.astype(np.float32)[:, None, None]


# Shapes as signed fields: negative inside, growing by about one per unit of length near the edge.


def _box(x: Array, y: Array, w: Array | float, h: Array | float) -> Array:
    return np.maximum(np.abs(x) - w, np.abs(y) - h)


def _sides(x: Array, y: Array, n: int, inner: float) -> list[Array]:
    """Returns the ``n`` half-planes whose common inside is a regular polygon."""
    angles = _TURN * np.arange(n) / n + np.pi / 2
    return [np.float32(np.cos(a)) * x + np.float32(np.sin(a)) * y - inner for a in angles]


def _radius(x: Array, y: Array) -> Array:
    field: Array = np.sqrt(x * x + y * y)
    return field


def _disk(x: Array, y: Array) -> Array:
    return _radius(x, y) - 0.74


def _ring(x: Array, y: Array) -> Array:
    return np.abs(_radius(x, y) - 0.7) - 0.2


def _triangle(x: Array, y: Array) -> Array:
    field: Array = np.maximum.reduce(_sides(x, y, 3, 0.52))
    return field


def _star(x: Array, y: Array) -> Array:
    """A pentagram: what lies outside at most one of five half-planes."""
    fourth: Array = np.sort(np.stack(_sides(x, y, 5, 0.36)), axis=0)[3]
    return fourth


def _cross(x: Array, y: Array) -> Array:
    return np.minimum(_box(x, y, 0.95, 0.27), _box(x, y, 0.27, 0.95))


def _crescent(x: Array, y: Array) -> Array:
    return np.maximum(_radius(x, y) - 0.95, 0.75 - _radius(x - 0.45, y))


def _bars(x: Array, y: Array) -> Array:
    return _box(x, np.abs(y) - 0.5, 0.9, 0.23)


def _dots(x: Array, y: Array) -> Array:
    """Three small disks at the corners of a triangle."""
    corners = [(0.0, 0.6), (-0.52, -0.3), (0.52, -0.3)]
    field: Array = np.minimum.reduce([_radius(x - cx, y - cy) - 0.4 for cx, cy in corners])
    return field


def _checker(x: Array, y: Array) -> Array:
    """Two squares that touch at a corner."""
    return np.minimum(_box(x - 0.45, y - 0.45, 0.45, 0.45), _box(x + 0.45, y + 0.45, 0.45, 0.45))


def _target(x: Array, y: Array) -> Array:
    """A disk within a thin ring."""
    r = _radius(x, y)
    return np.minimum(r - 0.36, np.abs(r - 0.84) - 0.15)


SHAPES: dict[str, Field] = {
    "disk": _disk,
    "ring": _ring,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "crescent": _crescent,
    "bars": _bars,
    "dots": _dots,
    "checker": _checker,
    "target": _target,
}


class _Scene(NamedTuple):
    """What the copies of one image share, ``[B, 1, 1]`` each; lengths in units of the image."""

    dark: Array  # bool: light copies on a dark background, or the reverse
    pitch: Array  # distance between the cells of the lattice
    turn: tuple[Array, Array]  # cosine and sine of the lattice's angle
    shift: tuple[Array, Array]  # the lattice's offset, in cells
    fill: Array  # mean radius of a copy, in cells
    tilt: float  # degrees that a copy may lean


def render(
    shape: str,
    key: int,
    index: NDArray[np.int64],
    size: int,
    tilt: float = 180.0,
    single: bool = False,
) -> NDArray[np.uint8]:
    """Draws images ``index`` of stream ``key``, all of one class: uint8 ``[B, 3, size, size]``.

    A scene lives in the unit square: another ``size`` is the same scene at another resolution.
    ``single`` draws one copy about the middle, as large as the image.
    """
    dice = _Dice(key, index)
    axis = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    axis -= np.float32(0.5)
    scene = _Scene(
        dark=dice() < 0.5,
        pitch=dice(0.40, 0.52),
        turn=dice.angle(),
        shift=(dice(), dice()),
        fill=dice(0.36, 0.46),
        tilt=tilt,
    )
    if single:
        one, half = np.ones_like(scene.pitch), np.full_like(scene.pitch, 0.5)
        scene = scene._replace(pitch=one, shift=(half, half))
    canvas = _background(axis, dice, scene.dark)
    for _ in range(_STROKES):
        _stroke(canvas, axis, dice)
    for cell in [(0, 0)] if single else _CELLS:
        _copy(canvas, axis, dice, scene, cell, SHAPES[shape])
    return (canvas.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _background(axis: Array, dice: _Dice, dark: Array) -> Array:
    """Paints a slow wave between two colours, crossed by faint stripes: ``[B, 3, S, S]``."""
    light = np.where(dark, dice(0.08, 0.30), dice(0.70, 0.92))
    first, second = dice.colour(light, 0.2), dice.colour(light, 0.2)
    slow = 0.5 + 0.5 * _wave(axis, dice, 0.4, 1.4)
    fine = dice(0, 0.06) * _wave(axis, dice, 3, 8)
    canvas: Array = first + (second - first) * slow[:, None] + fine[:, None]
    return canvas


def _wave(axis: Array, dice: _Dice, low: float, high: float) -> Array:
    """Returns a sine wave ``[B, S, S]`` of any direction, ``low`` to ``high`` periods an image."""
    cos, sin = dice.angle()
    along = cos * axis[None, None, :] + sin * axis[None, :, None]
    wave: Array = np.sin(np.float32(_TURN) * (dice(low, high) * along + dice()))
    return wave


def _stroke(canvas: Array, axis: Array, dice: _Dice) -> None:
    """Draws one short thin line of clutter, in any colour."""
    x, y, (cos, sin), half = dice(-0.5, 0.5), dice(-0.5, 0.5), dice.angle(), dice(0.02, 0.10)
    colour = dice.colour(dice(), 0.3)
    across, down = _span(axis, x, half + 0.02), _span(axis, y, half + 0.02)
    dx, dy = axis[None, None, across] - x, axis[None, down, None] - y
    field = _box(cos * dx + sin * dy, cos * dy - sin * dx, half, 0.012)
    _paint(canvas[:, :, down, across], field, colour, len(axis))


def _copy(
    canvas: Array, axis: Array, dice: _Dice, scene: _Scene, cell: tuple[int, int], shape: Field
) -> None:
    """Draws one copy of the shape, in its cell of the scene's turned and shifted lattice."""
    u = scene.pitch * (cell[0] - 0.5 + scene.shift[0] + dice(-0.12, 0.12))
    v = scene.pitch * (cell[1] - 0.5 + scene.shift[1] + dice(-0.12, 0.12))
    cos, sin = scene.turn
    x, y = cos * u - sin * v, sin * u + cos * v
    radius = scene.pitch * (scene.fill + dice(0, 0.08))
    across, down = _span(axis, x, _REACH * radius), _span(axis, y, _REACH * radius)
    cos, sin = dice.angle(scene.tilt)
    dx, dy = (axis[None, None, across] - x) / radius, (axis[None, down, None] - y) / radius
    dx, dy = cos * dx + sin * dy, cos * dy - sin * dx
    stripes = dice(0, 0.12) * np.sin(np.float32(_TURN) * (dice(0.3, 1.3) * dx + dice()))
    light = np.where(scene.dark, dice(0.60, 0.92), dice(0.08, 0.40)) + stripes
    colour = dice.colour(light, 0.35)
    _paint(canvas[:, :, down, across], shape(dx, dy) * radius, colour, len(axis))


def _span(axis: Array, centre: Array, reach: Array) -> slice:
    """Returns the pixels within ``reach`` of ``centre`` in any image of the batch.

    Large images are drawn one by one, and most of their pixels lie far from a given copy.
    """
    low, high = float((centre - reach).min()), float((centre + reach).max())
    edge = 1 / len(axis)
    return slice(int(np.searchsorted(axis, low - edge)), int(np.searchsorted(axis, high + edge)))


def _paint(canvas: Array, field: Array, colour: Array, size: int) -> None:
    """Blends ``colour`` over the canvas where ``field`` is negative, one pixel soft at the edge."""
    cover = (0.5 - field * size).clip(0, 1)[:, None]
    canvas += cover * (colour - canvas)
