"""The one table of image modes: how each of Pillow's colour modes becomes uint8 RGB."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image


class UnreadableError(Exception):
    """Why an image cannot be right; `decode` adds the id and makes it an `ImageError`."""


def to_rgb(image: Image) -> np.ndarray:
    """Return uint8 `[H, W, 3]`.

    Raises:
        UnreadableError: the mode is not in the table, or its numbers have no known scale.
    """
    if image.mode not in MODES:
        raise UnreadableError(f"colour mode {image.mode} is not one of {', '.join(MODES)}")
    if "transparency" in image.info and image.mode in ("1", "L", "RGB"):  # one transparent colour
        return _on_black(image)
    return MODES[image.mode](image)


def _converted(image: Image) -> np.ndarray:
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _on_black(image: Image) -> np.ndarray:
    rgba = np.asarray(image.convert("RGBA")).astype(np.uint16)
    return ((rgba[..., :3] * rgba[..., 3:] + 127) // 255).astype(np.uint8)


def _premultiplied(image: Image) -> np.ndarray:
    channels = np.asarray(image)  # multiplied by alpha already: that is "on black"
    return _grey(channels[..., 0]) if image.mode == "La" else channels[..., :3]


def _sixteen_bit(image: Image) -> np.ndarray:
    return _grey(_by_257(np.asarray(image)))


def _integers(image: Image) -> np.ndarray:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise UnreadableError(
            f"32-bit integers from {values.min()} to {values.max()}: only 0..65535 (16 bit) has a "
            f"known scale; convert the file to 8 or 16 bit"
        )
    return _grey(_by_257(values))


def _floats(image: Image) -> np.ndarray:
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())  # NaN fails both comparisons
    if not (low >= 0 and high <= 255):
        raise UnreadableError(
            f"floats from {low:g} to {high:g}: only 0..1 and 0..255 have a known scale; "
            f"convert the file to 8 or 16 bit"
        )
    return _grey(np.rint(values * (255.0 if high <= 1 else 1.0)).astype(np.uint8))


def _by_257(values: np.ndarray) -> np.ndarray:
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2)


MODES: dict[str, Callable[[Image], np.ndarray]] = {
    "RGB": _converted,  # 16-bit RGB arrives here too: Pillow keeps the high byte
    "RGBX": _converted,
    "L": _converted,
    "1": _converted,
    "CMYK": _converted,  # YCCK and Adobe's inverted CMYK are undone by Pillow's reader
    "YCbCr": _converted,
    "HSV": _converted,
    "P": _on_black,  # a palette may hold alpha
    "PA": _on_black,
    "LA": _on_black,
    "RGBA": _on_black,
    "La": _premultiplied,
    "RGBa": _premultiplied,
    "I;16": _sixteen_bit,  # convert("RGB") would clip: a white image
    "I;16L": _sixteen_bit,
    "I;16B": _sixteen_bit,
    "I;16N": _sixteen_bit,
    "I": _integers,
    "F": _floats,
}
