"""Views with masks drawn in the worker: the parts stand after the specs."""

from __future__ import annotations

from sslight.augment.masks import BlockMasks
from sslight.augment.parts import Part
from sslight.augment.presets.common import Interpolation, Numbers
from sslight.augment.presets.multicrop import dino
from sslight.augment.spec import IMAGENET_MEAN, IMAGENET_STD, ViewSpec


def ibot(
    size: int = 224,
    patch_size: int = 16,
    local_size: int | None = None,
    local_count: int = 8,
    prob: float = 0.5,
    ratio: tuple[float, float] = (0.1, 0.5),
    strength: float = 1.0,
    scale: tuple[float, float] = (0.32, 1.0),
    local_scale: tuple[float, float] = (0.05, 0.32),
    blur: tuple[float, float, float] | None = None,
    solarize: tuple[float, float, float] = (0.0, 0.2, 0.0),
    interpolation: Interpolation = "bicubic",
    mean: Numbers = IMAGENET_MEAN,
    std: Numbers = IMAGENET_STD,
) -> list[ViewSpec | Part]:
    """DINO's views with block-wise masks on the global ones (iBOT, arXiv:2111.07832; DINOv2).

    The batch gets ``masks``, see :class:`~sslight.augment.masks.BlockMasks`.

    Args:
        size: Side of the global views in pixels.
        patch_size: Side of the backbone's patches in pixels.
        local_size: As of ``dino``.
        local_count: Number of local views, 0 for none.
        prob: Probability that a global view is masked.
        ratio: Range of the share of masked patches.
        strength: As of ``dino``.
        scale: Range of a global crop's area.
        local_scale: Range of a local crop's area.
        blur: As of ``dino``.
        solarize: As of ``dino``.
        interpolation: ``bilinear`` or ``bicubic``.
        mean: Per channel; None with ``std=None`` to keep values in [0, 1].
        std: Per channel.
    """
    grid = _grid(size, patch_size)
    views = dino(
        size,
        local_size,
        local_count,
        strength,
        scale,
        local_scale,
        blur,
        solarize,
        interpolation,
        mean,
        std,
    )
    return [*views, BlockMasks(grid=grid, views=2, prob=prob, ratio=ratio)]


def _grid(size: int, patch_size: int) -> int:
    """Return the number of patches along a side."""
    if patch_size < 1 or size % patch_size:
        raise ValueError(
            f"patch_size {patch_size} does not divide size {size}; give the side of the "
            "backbone's patches in pixels, and a size that is a multiple of it"
        )
    return size // patch_size
