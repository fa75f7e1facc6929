"""The views of published methods, as plain lists of specs.

``strength`` scales the colour jitter; 0.5 is usual for images of 32 pixels. ``blur=None`` means the
published probability above 32 pixels and none up to 32, as SimCLR does on CIFAR-10.
"""

from __future__ import annotations

from collections.abc import Callable

from sslight.augment.spec import IMAGENET_MEAN, IMAGENET_STD, ViewSpec

_Numbers = tuple[float, ...] | None


def simclr(
    size: int = 224,
    count: int = 2,
    strength: float = 1.0,
    scale: tuple[float, float] = (0.08, 1.0),
    blur: float | None = None,
    mean: _Numbers = IMAGENET_MEAN,
    std: _Numbers = IMAGENET_STD,
) -> list[ViewSpec]:
    """Two equal views of SimCLR (Chen et al., 2020, arXiv:2002.05709, appendix A).

    Args:
        size: Side of the views in pixels.
        count: Number of views.
        strength: Of the colour jitter: 0.8 s brightness, contrast and saturation, 0.2 s hue.
        scale: Range of the crop's area.
        blur: Probability of a blur; None for 0.5 above 32 pixels, else 0.
        mean: Per channel; None with ``std=None`` to keep values in [0, 1].
        std: Per channel.
    """
    return [
        ViewSpec(
            size=size,
            count=count,
            scale=scale,
            flip=0.5,
            jitter=0.8,
            brightness=0.8 * strength,
            contrast=0.8 * strength,
            saturation=0.8 * strength,
            hue=0.2 * strength,
            grey=0.2,
            blur=_blur(blur, 0.5, size),
            mean=mean,
            std=std,
        )
    ]


def byol(
    size: int = 224,
    strength: float = 1.0,
    scale: tuple[float, float] = (0.08, 1.0),
    blur: tuple[float, float] | None = None,
    solarize: tuple[float, float] = (0.0, 0.2),
    mean: _Numbers = IMAGENET_MEAN,
    std: _Numbers = IMAGENET_STD,
) -> list[ViewSpec]:
    """Two unequal views of BYOL (Grill et al., 2020, arXiv:2006.07733, table 6).

    Args:
        size: Side of the views in pixels.
        strength: Of the colour jitter: 0.4 s brightness and contrast, 0.2 s saturation, 0.1 s hue.
        scale: Range of the crop's area.
        blur: Probability in each view; None for (1.0, 0.1) above 32 pixels, else (0, 0).
        solarize: Probability in each view.
        mean: Per channel; None with ``std=None`` to keep values in [0, 1].
        std: Per channel.
    """
    blurs = (None, None) if blur is None else blur
    return [
        ViewSpec(
            size=size,
            scale=scale,
            flip=0.5,
            jitter=0.8,
            brightness=0.4 * strength,
            contrast=0.4 * strength,
            saturation=0.2 * strength,
            hue=0.1 * strength,
            grey=0.2,
            blur=_blur(blurs[k], (1.0, 0.1)[k], size),
            solarize=solarize[k],
            mean=mean,
            std=std,
        )
        for k in range(2)
    ]


def supervised(
    size: int = 224,
    scale: tuple[float, float] = (0.08, 1.0),
    flip: float = 0.5,
    mean: _Numbers = IMAGENET_MEAN,
    std: _Numbers = IMAGENET_STD,
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


def eval(
    size: int = 224,
    resize: int | None = None,
    mean: _Numbers = IMAGENET_MEAN,
    std: _Numbers = IMAGENET_STD,
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


def _blur(wanted: float | None, published: float, size: int) -> float:
    if wanted is not None:
        return wanted
    return published if size > 32 else 0.0


PRESETS: dict[str, Callable[..., list[ViewSpec]]] = {
    "simclr": simclr,
    "byol": byol,
    "supervised": supervised,
    "eval": eval,
}
