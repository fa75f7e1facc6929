"""One view: of classifiers, masked models, and evaluation."""

from __future__ import annotations

from sslight.augment.presets.common import Interpolation, Numbers
from sslight.augment.spec import IMAGENET_MEAN, IMAGENET_STD, ViewSpec


def supervised(
    size: int = 224,
    scale: tuple[float, float] = (0.08, 1.0),
    flip: float = 0.5,
    mean: Numbers = IMAGENET_MEAN,
    std: Numbers = IMAGENET_STD,
) -> list[ViewSpec]:
    """One random resized crop with a left-right flip, as classifiers are trained.

    Args:
        size: Side of the view in pixels.
        scale: Range of the crop's area.
        flip: Probability of a left-right flip.
        mean: Per channel; None with ``std=None`` to keep values in [0, 1].
        std: Per channel.
    """
    return [ViewSpec(size=size, scale=scale, flip=flip, mean=mean, std=std)]


def npid(
    size: int = 224,
    strength: float = 1.0,
    scale: tuple[float, float] = (0.2, 1.0),
    flip: float = 0.5,
    grey: float = 0.2,
    mean: Numbers = IMAGENET_MEAN,
    std: Numbers = IMAGENET_STD,
) -> list[ViewSpec]:
    """One crop with strong colours of its own, as in NPID (Wu et al., 2018, arXiv:1805.01978).

    Args:
        size: Side of the view in pixels.
        strength: Of the colour jitter of every view: 0.4 s brightness, contrast, saturation, hue.
        scale: Range of the crop's area.
        flip: Probability of a left-right flip.
        grey: Probability of a grey view.
        mean: Per channel; None with ``std=None`` to keep values in [0, 1].
        std: Per channel.
    """
    return [
        ViewSpec(
            size=size,
            scale=scale,
            flip=flip,
            jitter=1.0,
            brightness=0.4 * strength,
            contrast=0.4 * strength,
            saturation=0.4 * strength,
            hue=0.4 * strength,
            grey=grey,
            mean=mean,
            std=std,
        )
    ]


def colorization(
    size: int = 224, scale: tuple[float, float] = (0.08, 1.0), flip: float = 0.5
) -> list[ViewSpec]:
    """One random resized crop with a left-right flip, its colours in [0, 1] as they are.

    Args:
        size: Side of the view in pixels.
        scale: Range of the crop's area.
        flip: Probability of a left-right flip.
    """
    return supervised(size, scale, flip, mean=None, std=None)


def eval(
    size: int = 224,
    resize: int | None = None,
    mean: Numbers = IMAGENET_MEAN,
    std: Numbers = IMAGENET_STD,
) -> list[ViewSpec]:
    """One clean view: the shorter side resized, then the middle.

    Args:
        size: Side of the view in pixels.
        resize: Shorter side before the crop; None for 8/7 of the size above 64 pixels (224 -> 256),
            else the size.
        mean: Per channel; None with ``std=None`` to keep values in [0, 1].
        std: Per channel.
    """
    return [ViewSpec(size=size, crop="center", resize=resize, mean=mean, std=std)]


def mae(
    size: int = 224,
    scale: tuple[float, float] = (0.2, 1.0),
    flip: float = 0.5,
    interpolation: Interpolation = "bicubic",
    mean: Numbers = IMAGENET_MEAN,
    std: Numbers = IMAGENET_STD,
) -> list[ViewSpec]:
    """One random resized crop with a left-right flip and no colours (arXiv:2111.06377, table 8).

    Args:
        size: Side of the view in pixels.
        scale: Range of the crop's area.
        flip: Probability of a left-right flip.
        interpolation: How the crop is resized.
        mean: Per channel; None with ``std=None`` to keep values in [0, 1].
        std: Per channel.
    """
    return [
        ViewSpec(size=size, scale=scale, flip=flip, interpolation=interpolation, mean=mean, std=std)
    ]


def simmim(
    size: int = 224,
    scale: tuple[float, float] = (0.67, 1.0),
    flip: float = 0.5,
    mean: Numbers = IMAGENET_MEAN,
    std: Numbers = IMAGENET_STD,
) -> list[ViewSpec]:
    """One gentle random resized crop with a left-right flip (arXiv:2111.09886, section 4.1.2).

    Args:
        size: Side of the view in pixels.
        scale: Range of the crop's area.
        flip: Probability of a left-right flip.
        mean: Per channel; None with ``std=None`` to keep values in [0, 1].
        std: Per channel.
    """
    return [ViewSpec(size=size, scale=scale, flip=flip, mean=mean, std=std)]
