"""The pixels themselves as a backbone: the baseline every learnt feature has to beat."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslight.backbones.spec import bind


class Pixels(nn.Module):
    """Flattens images, resized to ``size`` x ``size``: ``embed_dim = in_channels * size**2``.

    Args:
        size: Side in pixels; images of another size are resized (bilinear, antialiased).
        in_channels: Channels of the images.
    """

    def __init__(self, size: int = 32, in_channels: int = 3):
        super().__init__()
        if size < 1 or in_channels < 1:
            raise ValueError(f"pixels: size={size}, in_channels={in_channels}: both must be >= 1.")
        self.size, self.in_channels = size, in_channels
        self.embed_dim = in_channels * size * size

    def forward(self, images: Tensor) -> Tensor:
        """``[B, C, H, W]`` to ``[B, C * size * size]``."""
        if images.shape[1] != self.in_channels:
            raise ValueError(
                f"pixels: images have {images.shape[1]} channels, in_channels={self.in_channels}."
            )
        if images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(
                images, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False
            )
        return torch.flatten(images, 1)


def _pixels(arch: str, *, size: int = 32, in_channels: int = 3) -> nn.Module:
    """Flattened pixels of the image resized to ``size``.

    Args:
        arch: The name, ``pixels``.
        size: Side in pixels.
        in_channels: Channels of the images.
    """
    return Pixels(size, in_channels)


pixels = bind(_pixels, "pixels")
