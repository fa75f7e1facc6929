"""Views of methods that compare whole views: two equal ones, two unequal ones, weak and strong."""

from __future__ import annotations

from dataclasses import replace

from sslight.augment.presets.common import Interpolation, Numbers, blur_of
from sslight.augment.spec import IMAGENET_MEAN, IMAGENET_STD, ViewSpec


def simclr(
    size: int = 224,
    count: int = 2,
    strength: float = 1.0,
    scale: tuple[float, float] = (0.08, 1.0),
    blur: float | None = None,
    solarize: float = 0.0,
    interpolation: Interpolation = "bilinear",
    mean: Numbers = IMAGENET_MEAN,
    std: Numbers = IMAGENET_STD,
) -> list[ViewSpec]:
    """Two equal views of SimCLR (Chen et al., 2020, arXiv:2002.05709, appendix A).

    Args:
        size: Side of the views in pixels.
        count: Number of views.
        strength: Of the colour jitter: 0.8 s brightness, contrast and saturation, 0.2 s hue.
        scale: Range of the crop's area.
        blur: Probability of a blur; None for 0.5 above 32 pixels, else 0.
        solarize: Probability of a solarized view; SimCLR has none.
        interpolation: ``bilinear`` or ``bicubic``.
        mean: Per channel; None with ``std=None`` to keep values in [0, 1].
        std: Per channel.
    """
    return [
        ViewSpec(
            size=size,
            count=count,
            scale=scale,
            interpolation=interpolation,
            flip=0.5,
            jitter=0.8,
            brightness=0.8 * strength,
            contrast=0.8 * strength,
            saturation=0.8 * strength,
            hue=0.2 * strength,
            grey=0.2,
            blur=blur_of(blur, 0.5, size),
            solarize=solarize,
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
    interpolation: Interpolation = "bilinear",
    mean: Numbers = IMAGENET_MEAN,
    std: Numbers = IMAGENET_STD,
) -> list[ViewSpec]:
    """Two unequal views of BYOL (Grill et al., 2020, arXiv:2006.07733, table 6).

    Args:
        size: Side of the views in pixels.
        strength: Of the colour jitter: 0.4 s brightness and contrast, 0.2 s saturation, 0.1 s hue.
        scale: Range of the crop's area.
        blur: Probability in each view; None for (1.0, 0.1) above 32 pixels, else (0, 0).
        solarize: Probability in each view.
        interpolation: ``bilinear`` or ``bicubic``.
        mean: Per channel; None with ``std=None`` to keep values in [0, 1].
        std: Per channel.
    """
    blurs = (None, None) if blur is None else blur
    return [
        ViewSpec(
            size=size,
            scale=scale,
            interpolation=interpolation,
            flip=0.5,
            jitter=0.8,
            brightness=0.4 * strength,
            contrast=0.4 * strength,
            saturation=0.2 * strength,
            hue=0.1 * strength,
            grey=0.2,
            blur=blur_of(blurs[k], (1.0, 0.1)[k], size),
            solarize=solarize[k],
            mean=mean,
            std=std,
        )
        for k in range(2)
    ]


def moco(
    size: int = 224,
    count: int = 2,
    strength: float = 0.5,
    scale: tuple[float, float] = (0.2, 1.0),
    blur: float | None = None,
    interpolation: Interpolation = "bilinear",
    mean: Numbers = IMAGENET_MEAN,
    std: Numbers = IMAGENET_STD,
) -> list[ViewSpec]:
    """Two equal, milder views: MoCo v2 (arXiv:2003.04297) and SimSiam (arXiv:2011.10566).

    Args:
        size: Side of the views in pixels.
        count: Number of views.
        strength: Of the colour jitter; 0.5 is 0.4 brightness, contrast and saturation, 0.1 hue.
        scale: Range of the crop's area.
        blur: Probability of a blur; None for 0.5 above 32 pixels, else 0.
        interpolation: ``bilinear`` or ``bicubic``.
        mean: Per channel; None with ``std=None`` to keep values in [0, 1].
        std: Per channel.
    """
    return simclr(
        size, count, strength, scale, blur, interpolation=interpolation, mean=mean, std=std
    )


def ressl(
    size: int = 224,
    strength: float = 0.5,
    scale: tuple[float, float] = (0.2, 1.0),
    blur: float | None = None,
    saturation: float | None = None,
    interpolation: Interpolation = "bilinear",
    mean: Numbers = IMAGENET_MEAN,
    std: Numbers = IMAGENET_STD,
) -> list[ViewSpec]:
    """A weak view (crop and flip) for the teacher, then a strong one (ReSSL, arXiv:2107.09282).

    Args:
        size: Side of the views in pixels.
        strength: Of the strong view's colour jitter, as in ``moco``.
        scale: Range of the crops' area.
        blur: Probability of a blur in the strong view; None for 0.5 above 32 pixels, else 0.
        saturation: Of the strong view's colour jitter; None for that which goes with the strength.
        interpolation: ``bilinear`` or ``bicubic``.
        mean: Per channel; None with ``std=None`` to keep values in [0, 1].
        std: Per channel.
    """
    weak = ViewSpec(
        size=size, scale=scale, interpolation=interpolation, flip=0.5, mean=mean, std=std
    )
    (strong,) = simclr(
        size, 1, strength, scale, blur, interpolation=interpolation, mean=mean, std=std
    )
    return [weak, strong if saturation is None else replace(strong, saturation=saturation)]
