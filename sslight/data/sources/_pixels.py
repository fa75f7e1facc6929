"""Whatever a dataset calls an image, as uint8 ``[C, H, W]``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslight.data.errors import ImageError
from sslight.data.modes import UnreadableError, to_rgb

_MOST_CHANNELS = 4  # of an array, when its shape has to tell channels from rows


def to_uint8(image: Any, id: str) -> Tensor:
    """Returns a PIL image, numpy array or tensor as uint8 ``[C, H, W]``; grey becomes RGB.

    Arrays are ``[H, W]``, ``[H, W, C]`` or, if only the first side can be channels (1 to 4),
    ``[C, H, W]``; tensors are ``[H, W]`` or ``[C, H, W]``. Both hold uint8, or floats in [0, 1].
    PIL images pass through the table of colour modes; their EXIF orientation is left alone,
    since the dataset may have applied it.

    Raises:
        ImageError: a PIL image cannot be decoded.
        TypeError: it is none of these.
        ValueError: its shape or its values are not those of an image.
    """
    if isinstance(image, Tensor):
        return _rgb(_as_bytes(image.detach().cpu(), id), id)
    if isinstance(image, np.ndarray):
        return _rgb(
            _as_bytes(_channels_first(torch.from_numpy(np.ascontiguousarray(image))), id), id
        )
    if hasattr(image, "convert") and hasattr(image, "mode"):
        return _from_pillow(image, id)
    raise TypeError(
        f"{id}: expected a PIL image, a numpy array or a tensor, got {type(image).__name__}. A "
        "dataset hands over one image (sslight draws its views itself), alone, as (image, label) "
        "or as {'image': ..., 'label': ...}."
    )


def _from_pillow(image: Any, id: str) -> Tensor:
    try:
        rgb = to_rgb(image)
    except UnreadableError as error:
        raise ImageError(id, str(error)) from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow decodes lazily, and raises nearly anything on a broken file
        raise ImageError(id, f"cannot be decoded: {error}") from error
    return torch.from_numpy(np.require(rgb, requirements=["C", "W"])).permute(2, 0, 1)


def _channels_first(image: Tensor) -> Tensor:
    if image.ndim != 3 or (image.shape[0] <= _MOST_CHANNELS < image.shape[2]):
        return image
    return image.permute(2, 0, 1)


def _as_bytes(image: Tensor, id: str) -> Tensor:
    if image.dtype == torch.uint8:
        return image
    if not image.is_floating_point():
        raise ValueError(
            f"{id}: pixels are {str(image.dtype).removeprefix('torch.')}; give uint8 (0..255) or "
            "floats in [0, 1]."
        )
    low, high = image.aminmax() if image.numel() else (torch.tensor(0.0), torch.tensor(0.0))
    if not (low >= 0 and high <= 1):  # written so that NaN fails
        raise ValueError(
            f"{id}: float pixels lie in [{low:.3g}, {high:.3g}], not in [0, 1]. Leave "
            "normalisation out of the dataset's transform: the view specification does it."
        )
    return (image * 255).round().to(torch.uint8)


def _rgb(image: Tensor, id: str) -> Tensor:
    if image.ndim == 2:
        image = image[None]
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"{id}: an image has 2 or 3 dimensions, got shape {tuple(image.shape)}.")
    return image.repeat(3, 1, 1) if len(image) == 1 else image
