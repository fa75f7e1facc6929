"""Networks that see something else of an RGB image than its three channels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from sslight.backbones.protocol import in_channels_of
from sslight.modules.lab import rgb_to_lab


def lightness(images: Tensor, channels: int) -> Tensor:
    """Turn RGB images in [0, 1] into ``channels`` equal planes ``(L - 50) / 100``."""
    planes = (rgb_to_lab(images)[:, :1] - 50) / 100
    return planes.expand(-1, channels, -1, -1).to(images.dtype)


#: What a network may see, by the name that is kept beside its weights.
INPUTS: dict[str, Callable[..., Tensor]] = {"lightness": lightness}


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
    convert = partial(INPUTS[what], channels=in_channels_of(backbone))
    backbone.register_forward_pre_hook(partial(_converted, convert))
    backbone.sees = what  # type: ignore[assignment]
    return backbone


def input_of(backbone: nn.Module) -> str | None:
    """What a backbone sees of an image, where :func:`see` has changed it."""
    what: str | None = getattr(backbone, "sees", None)
    return what


def image_channels(backbone: nn.Module) -> int:
    """Channels of the images that a backbone is given."""
    return in_channels_of(backbone) if input_of(backbone) is None else 3


def _converted(convert: Callable[[Tensor], Tensor], module: nn.Module, inputs: Any) -> Any:
    images, *rest = inputs
    return (convert(images), *rest)
