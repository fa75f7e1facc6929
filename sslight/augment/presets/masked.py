"""Views with masks drawn in the worker: the parts stand after the specs."""

from __future__ import annotations

from dataclasses import replace

from sslight.augment.jepa_masks import JepaMasks
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
    min_block: int = 4,
    gram_size: int | None = None,
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
        min_block: Smallest block in patches: 4 in DINOv2, in iBOT ``(grid // 3) ** 2``.
        gram_size: Side of a copy of each global crop, without changes of colour, for the Gram
            teacher of ``dinov2``; twice the size in DINOv3. None for none.
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
    views = [view if view.local else replace(view, anchor=gram_size) for view in views]
    masks = BlockMasks(grid=grid, views=2, prob=prob, ratio=ratio, min_block=min_block)
    return [*views, masks]


def data2vec(
    size: int = 224,
    patch_size: int = 16,
    ratio: tuple[float, float] = (0.6, 0.6),
    min_block: int = 16,
    scale: tuple[float, float] = (0.08, 1.0),
    flip: float = 0.5,
    strength: float = 0.4,
    interpolation: Interpolation = "bicubic",
    mean: Numbers = IMAGENET_MEAN,
    std: Numbers = IMAGENET_STD,
) -> list[ViewSpec | Part]:
    """One view with 60 % of its patches masked in blocks (data2vec, arXiv:2202.03555, section 4.1).

    Crop, flip and colour jitter, and blocks of at least 16 patches, as in BEiT (arXiv:2106.08254).
    The batch gets ``masks``, see :class:`~sslight.augment.masks.BlockMasks`.

    Args:
        size: Side of the view in pixels.
        patch_size: Side of the backbone's patches in pixels.
        ratio: Range of the share of masked patches.
        min_block: Smallest block in patches.
        scale: Range of the crop's area.
        flip: Probability of a left-right flip.
        strength: Of the jitter of brightness, contrast and saturation.
        interpolation: ``bilinear`` or ``bicubic``.
        mean: Per channel; None with ``std=None`` to keep values in [0, 1].
        std: Per channel.
    """
    view = ViewSpec(
        size=size,
        scale=scale,
        interpolation=interpolation,
        flip=flip,
        jitter=1.0,
        brightness=strength,
        contrast=strength,
        saturation=strength,
        mean=mean,
        std=std,
    )
    grid = _grid(size, patch_size)
    return [view, BlockMasks(grid=grid, views=1, prob=1.0, ratio=ratio, min_block=min_block)]


def ijepa(
    size: int = 224,
    patch_size: int = 16,
    scale: tuple[float, float] = (0.3, 1.0),
    interpolation: Interpolation = "bilinear",
    targets: int = 4,
    target_scale: tuple[float, float] = (0.15, 0.2),
    target_aspect: tuple[float, float] = (0.75, 1.5),
    context_scale: tuple[float, float] = (0.85, 1.0),
    context_tokens: int | None = None,
    official: bool = False,
    mean: Numbers = IMAGENET_MEAN,
    std: Numbers = IMAGENET_STD,
) -> list[ViewSpec | Part]:
    """One crop, neither flipped nor recoloured, with context and targets (arXiv:2301.08243).

    The batch gets ``context``, ``targets`` and ``target_valid``, see
    :class:`~sslight.augment.jepa_masks.JepaMasks`.

    Args:
        size: Side of the view in pixels.
        patch_size: Side of the backbone's patches in pixels.
        scale: Range of the crop's area.
        interpolation: ``bilinear`` or ``bicubic``.
        targets: Number of target blocks.
        target_scale: Range of a target's area.
        target_aspect: Range of a target's height / width.
        context_scale: Range of the context's area, before targets are removed.
        context_tokens: Patches of the context; None for a quarter of all.
        official: Draw blocks as the authors' code does.
        mean: Per channel; None with ``std=None`` to keep values in [0, 1].
        std: Per channel.
    """
    masks = JepaMasks(
        _grid(size, patch_size),
        targets,
        target_scale,
        target_aspect,
        context_scale,
        context_tokens,
        official,
    )
    return [ViewSpec(size, scale=scale, interpolation=interpolation, mean=mean, std=std), masks]


def _grid(size: int, patch_size: int) -> int:
    """Return the number of patches along a side."""
    if patch_size < 1 or size % patch_size:
        raise ValueError(
            f"patch_size {patch_size} does not divide size {size}; give the side of the "
            "backbone's patches in pixels, and a size that is a multiple of it"
        )
    return size // patch_size
