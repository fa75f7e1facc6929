"""Bytes of an image file to uint8 RGB; `modes` says how each colour mode becomes RGB."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sslight.data.draft import Draft, draft, swaps_sides
from sslight.data.errors import ImageError
from sslight.data.modes import UnreadableError, to_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 178_956_970
"""Default limit of width x height: where Pillow itself refuses (13,377 x 13,377)."""

Choice = Callable[[int, int], int]
"""By what an image of this height and width is divided: 1, 2, 4 or 8."""

# Formats that only hold pixels (JPEG includes MPO, JPEGs of several pictures).
# Pillow's others can start programs (EPS) or are no images.
FORMATS = (
    *("JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "PPM", "AVIF"),
    *("JPEG2000", "ICO", "QOI", "TGA", "PCX", "SGI", "PSD"),
)


def decode(data: bytes, id: str = "image", *, max_pixels: int = MAX_PIXELS) -> Tensor:
    """Decode an image file's bytes.

    The EXIF orientation is applied, alpha is laid on black, of an animation the first frame is
    taken. `sslight.data.modes` says how each colour mode becomes RGB. No colour profile is applied.

    Args:
        data: the whole file.
        id: the image's name, for the error.
        max_pixels: larger images (width x height) are refused before they are decompressed.

    Returns:
        uint8 `[3, H, W]`, channels last in memory (strides of `[H, W, 3]`), writable.

    Raises:
        ImageError: the bytes are no image, are truncated, too large, or of an unknown mode.
    """
    with _explained(data, id):
        pixels = _fast_jpeg(data, max_pixels)
        return _by_pillow(data, max_pixels) if pixels is None else pixels


def decode_reduced(
    data: bytes, id: str, choose: Choice, *, max_pixels: int = MAX_PIXELS
) -> Tensor | Draft:
    """Decode an image file's bytes at 1, 1/2, 1/4 or 1/8 of its size.

    Args:
        data: the whole file.
        id: the image's name, for the error.
        choose: gives 1, 2, 4 or 8 for the height and width of the upright image; asked for 8-bit
            grey and colour JPEGs alone.
        max_pixels: as for `decode`.

    Returns:
        A `Draft`; or what `decode` gives, where the choice is 1 or the file another one.

    Raises:
        ImageError: as `decode`.
    """
    with _explained(data, id):
        reduced = _reduced_jpeg(data, choose, max_pixels)
    return decode(data, id, max_pixels=max_pixels) if reduced is None else reduced


@contextmanager
def _explained(data: bytes, id: str) -> Iterator[None]:
    """Turn what decoders raise into an `ImageError` that says what is wrong with the file."""
    if not data:
        raise ImageError(id, "the file is empty (0 bytes)")
    try:
        yield
    except UnreadableError as error:
        raise ImageError(id, str(error)) from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises nearly anything on a malformed file
        raise ImageError(id, _in_words(data, error)) from error


def _in_words(data: bytes, error: Exception) -> str:
    if data.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the image; fetch it with `git lfs pull`"
    text = str(error)
    if type(error).__name__ == "UnidentifiedImageError":
        return f"not an image of a known format: {len(data)} bytes, beginning with {data[:16]!r}"
    if "truncated" in text.lower() or isinstance(error, EOFError):
        return f"truncated: {text or 'the data ends early'} ({len(data)} bytes)"
    return f"broken: {text or type(error).__name__} ({len(data)} bytes)"


# --- JPEG: torchvision's decoder, the same pixels as Pillow's in about half the time -------------


def _fast_jpeg(data: bytes, max_pixels: int) -> Tensor | None:
    """Decode an ordinary JPEG; None where Pillow should look (and give the error)."""
    header = _jpeg_header(data)
    if header is None:
        return None
    width, height, has_exif = header
    _check_size(width, height, max_pixels)
    pixels = _torchvision_jpeg(data)
    if pixels is None or not has_exif:
        return pixels
    orientation = _orientation_in(data, max_pixels)
    if orientation == 1:
        return pixels
    return _to_tensor(_upright(pixels.permute(1, 2, 0).numpy(), orientation))


def _torchvision_jpeg(data: bytes) -> Tensor | None:
    operator = _jpeg_operator()
    if operator is None:
        return None
    try:
        pixels: Tensor = operator(torch.frombuffer(bytearray(data), dtype=torch.uint8), 3, False)
    except RuntimeError:  # a broken file: Pillow says what is wrong
        return None
    return pixels


@cache
def _jpeg_operator() -> Callable[[Tensor, int, bool], Tensor] | None:
    """Return the operator (bytes, 3 = RGB, turn by EXIF); None where torchvision has none.

    Its public wrapper warns at every call since torchvision 0.29, which announces the removal of
    the decoders; without them Pillow decodes everything, to the same pixels.
    """
    try:
        import torchvision.io  # noqa: F401  # loads the operators
    except (ImportError, OSError):
        return None
    return getattr(torch.ops.image, "decode_jpeg", None)


def _jpeg_header(data: bytes) -> tuple[int, int, bool] | None:
    """Return (width, height, has EXIF or XMP) of an 8-bit grey or three-component JPEG."""
    if data[:3] != b"\xff\xd8\xff":
        return None
    at, has_exif = 2, False
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in (0xC0, 0xC1, 0xC2):  # baseline, extended, progressive
            height = int.from_bytes(data[at + 5 : at + 7], "big")
            width = int.from_bytes(data[at + 7 : at + 9], "big")
            ordinary = data[at + 4] == 8 and data[at + 9] in (1, 3) and width and height
            return (width, height, has_exif) if ordinary else None
        if not (marker in (0xC4, 0xDB, 0xDD, 0xFE) or 0xE0 <= marker <= 0xEF) or size < 2:
            return None
        has_exif |= marker == 0xE1
        at += 2 + size
    return None


def _reduced_jpeg(data: bytes, choose: Choice, max_pixels: int) -> Draft | None:
    """Decode an ordinary JPEG at the size chosen for it; None where that is the full one."""
    header = _jpeg_header(data)
    if header is None:
        return None
    width, height, has_exif = header
    orientation = _orientation_in(data, max_pixels) if has_exif else 1
    factor = choose(width, height) if swaps_sides(orientation) else choose(height, width)
    if factor == 1:
        return None
    with _pillow(data, max_pixels) as image:
        return draft(image, factor, orientation)


# --- everything else: Pillow ---------------------------------------------------------------------


def _by_pillow(data: bytes, max_pixels: int) -> Tensor:
    with _pillow(data, max_pixels) as image:
        image.load()
        rgb = to_rgb(image)
        return _to_tensor(_upright(rgb, _orientation(image)))


@contextmanager
def _pillow(data: bytes, max_pixels: int) -> Iterator[Image]:
    """Open lazily; the size is checked before any pixel is decompressed."""
    from PIL import Image

    with _raised_limit(max_pixels):
        try:
            image = Image.open(io.BytesIO(data), formats=_formats())
        except Image.DecompressionBombError as error:
            raise UnreadableError(f"more than max_pixels={max_pixels} pixels: {error}") from None
        with image:
            _check_size(image.width, image.height, max_pixels)
            yield image


@cache
def _formats() -> tuple[str, ...]:
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)  # an older Pillow lacks some


_pillow_lock = threading.Lock()


@contextmanager
def _swapped_limit(max_pixels: int) -> Iterator[None]:
    from PIL import Image

    with _pillow_lock:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _raised_limit(max_pixels: int) -> Any:
    """Lift Pillow's own limit (a global) only for who asked for more, and only for the while."""
    return _swapped_limit(max_pixels) if max_pixels > MAX_PIXELS else nullcontext()


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise UnreadableError(
            f"{width} x {height} = {width * height} pixels, more than max_pixels={max_pixels} "
            f"(a guard against decompression bombs); raise max_pixels if the image is meant"
        )


def _to_tensor(rgb: np.ndarray) -> Tensor:
    return torch.from_numpy(np.require(rgb, requirements=["C", "W"])).permute(2, 0, 1)


def _orientation_in(data: bytes, max_pixels: int) -> int:
    with _pillow(data, max_pixels) as image:
        return _orientation(image)


def _orientation(image: Image) -> int:
    """Return the EXIF orientation, 1 (upright) if there is none or the EXIF block is broken."""
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # the pixels are right, so the image is
        return 1
    return value if value in _UPRIGHT else 1


_UPRIGHT: dict[Any, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    return _UPRIGHT[orientation](pixels)
