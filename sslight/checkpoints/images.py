"""Whatever a user calls an image, as uint8 pixels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Images = Any  # str | Path | PIL.Image.Image | Tensor, or a sequence of them


def as_pixels(images: Images) -> list[Tensor]:
    """Paths, PIL images or uint8 tensors to a list of uint8 ``[C, H, W]``."""
    if isinstance(images, Tensor) and images.ndim == 4:
        return [_tensor(image) for image in images]
    single = isinstance(images, str | Path | Tensor) or not isinstance(images, Sequence)
    return [_one(image) for image in ([images] if single else images)]


def _one(image: Any) -> Tensor:
    if isinstance(image, Tensor):
        return _tensor(image)
    if isinstance(image, str | Path):
        return _decode(Path(image).expanduser().read_bytes(), str(image))
    if hasattr(image, "save") and hasattr(image, "mode"):  # PIL, without importing it
        return _pil(image)
    raise TypeError(
        f"An image is a path, a PIL image or a uint8 tensor [C, H, W], not {type(image).__name__}."
    )


def _tensor(image: Tensor) -> Tensor:
    if image.dtype != torch.uint8 or image.ndim != 3:
        raise TypeError(
            f"Image tensors are uint8 [C, H, W] (or [N, C, H, W]), got {image.dtype} "
            f"{list(image.shape)}. Normalised floats go straight through the backbone: call it."
        )
    return image


def _pil(image: Any) -> Tensor:
    """Through a lossless file, so that one table decides how each colour mode becomes RGB."""
    file = io.BytesIO()
    kind = "PNG" if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else "TIFF"
    image.save(file, kind, **({"compress_level": 0} if kind == "PNG" else {}))
    return _decode(file.getvalue(), repr(image))


def _decode(data: bytes, name: str) -> Tensor:
    from sslight.data.decode import decode

    return decode(data, name)
