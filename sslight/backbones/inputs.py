"""Networks that see something else of an image than it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sslight.backbones.protocol import in_channels_of
from sslight.modules.lab import rgb_to_lab


def lightness(images: Tensor, channels: int) -> Tensor:
    """Turn RGB images in [0, 1] into ``channels`` equal planes ``(L - 50) / 100``."""
    planes = (rgb_to_lab(images)[:, :1] - 50) / 100
    return planes.expand(-1, channels, -1, -1).to(images.dtype)


def standardised(images: Tensor, channels: int) -> Tensor:
    """Bring each channel of each image to mean 0 and standard deviation 1; a flat one to zeros."""
    precise = images.to(torch.promote_types(images.dtype, torch.float32))
    std, mean = torch.std_mean(precise, dim=(-2, -1), keepdim=True, correction=0)
    return ((precise - mean) / (std + 1e-6)).to(images.dtype)


Convert = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class Input:
    """What a network may see.

    Args:
        convert: From images and the network's number of channels to what it sees.
        words: What that is.
        of_rgb: Whether images have three channels, however many the network has.
    """

    convert: Convert
    words: str
    of_rgb: bool = False


#: What a network may see, by the name that is kept beside its weights.
INPUTS = {
    "lightness": Input(lightness, "the lightness of RGB images in [0, 1]", of_rgb=True),
    "standardised": Input(standardised, "images of which each channel is standardised"),
}


def see(backbone: nn.Module, what: str | None) -> nn.Module:
    """Let ``backbone`` see ``what`` (a key of :data:`INPUTS`) of the RGB images it is given.

    The conversion runs before the network's forward; names of weights stay as they are, and what is
    saved of the backbone says what it sees. For lightness, images are in [0, 1], and the network
    may take one channel or several equal ones.

    Args:
        backbone: Changed in place, once.
        what: The conversion; None for images as they are.
    """
    if what is None or input_of(backbone) == what:
        return backbone
    if what not in INPUTS or input_of(backbone) is not None:
        raise ValueError(
            f"{type(backbone).__name__} cannot see {what!r}: known are {', '.join(INPUTS)}, and it "
            f"sees {input_of(backbone) or 'images as they are'}."
        )
    convert = partial(_converted, INPUTS[what].convert, in_channels_of(backbone))
    backbone.register_forward_pre_hook(convert)
    backbone.sees = what  # type: ignore[assignment]
    return backbone


def input_of(backbone: nn.Module) -> str | None:
    """What a backbone sees of an image, where :func:`see` has changed it."""
    what: str | None = getattr(backbone, "sees", None)
    return what


def image_channels(backbone: nn.Module) -> int:
    """Channels of the images that a backbone is given."""
    what = input_of(backbone)
    return 3 if what is not None and INPUTS[what].of_rgb else in_channels_of(backbone)


def _converted(convert: Convert, channels: int, module: nn.Module, inputs: Any) -> Any:
    images, *rest = inputs
    return (convert(images, channels), *rest)
