"""Multi-crop: a few global views and many small local ones (SwAV, arXiv:2006.09882)."""

from __future__ import annotations

from sslight.augment.presets.common import Interpolation, Numbers, blur_of
from sslight.augment.spec import IMAGENET_MEAN, IMAGENET_STD, ViewSpec


def swav(
    size: int = 224,
    local_size: int | None = None,
    count: int = 2,
    local_count: int = 6,
    strength: float = 1.0,
    scale: tuple[float, float] = (0.14, 1.0),
    local_scale: tuple[float, float] = (0.05, 0.14),
    blur: float | None = None,
    interpolation: Interpolation = "bilinear",
    mean: Numbers = IMAGENET_MEAN,
    std: Numbers = IMAGENET_STD,
) -> list[ViewSpec]:
    """SwAV's multi-crop, 2 x 224 + 6 x 96 (Caron et al., 2020, arXiv:2006.09882, appendix A).

    Args:
        size: Side of the global views in pixels.
        local_size: Side of the local views; None for 3/7 of the size in multiples of 8
            (224 -> 96, 32 -> 16).
        count: Number of global views.
        local_count: Number of local views, 0 for none.
        strength: Of the colour jitter: 0.8 s brightness, contrast and saturation, 0.2 s hue.
        scale: Range of a global crop's area.
        local_scale: Range of a local crop's area.
        blur: Probability of a blur; None for 0.5 above 32 pixels, else 0.
        interpolation: ``bilinear`` or ``bicubic``.
        mean: Per channel; None with ``std=None`` to keep values in [0, 1].
        std: Per channel.
    """

    def view(size: int, count: int, scale: tuple[float, float], local: bool) -> ViewSpec:
        return ViewSpec(
            size=size,
            count=count,
            local=local,
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
            mean=mean,
            std=std,
        )

    views = [view(size, count, scale, False)]
    if local_count:
        views.append(view(local_size or small(size), local_count, local_scale, True))
    return views


def dino(
    size: int = 224,
    local_size: int | None = None,
    local_count: int = 8,
    strength: float = 1.0,
    scale: tuple[float, float] = (0.4, 1.0),
    local_scale: tuple[float, float] = (0.05, 0.4),
    blur: tuple[float, float, float] | None = None,
    solarize: tuple[float, float, float] = (0.0, 0.2, 0.0),
    interpolation: Interpolation = "bicubic",
    mean: Numbers = IMAGENET_MEAN,
    std: Numbers = IMAGENET_STD,
) -> list[ViewSpec]:
    """DINO's two unequal global views and its local ones (Caron et al., 2021, arXiv:2104.14294).

    Args:
        size: Side of the global views in pixels.
        local_size: Side of the local views; None for 3/7 of the size in multiples of 8
            (224 -> 96, 32 -> 16).
        local_count: Number of local views, 0 for none.
        strength: Of the colour jitter: 0.4 s brightness and contrast, 0.2 s saturation, 0.1 s hue.
        scale: Range of a global crop's area.
        local_scale: Range of a local crop's area.
        blur: Probability in the first, second and local views; None for (1.0, 0.1, 0.5) in views
            above 32 pixels, else 0.
        solarize: Probability in the first, second and local views.
        interpolation: ``bilinear`` or ``bicubic``.
        mean: Per channel; None with ``std=None`` to keep values in [0, 1].
        std: Per channel.
    """
    blurs = (None, None, None) if blur is None else blur

    def view(kind: int, size: int, count: int, scale: tuple[float, float]) -> ViewSpec:
        return ViewSpec(
            size=size,
            count=count,
            local=kind == 2,
            scale=scale,
            interpolation=interpolation,
            flip=0.5,
            jitter=0.8,
            brightness=0.4 * strength,
            contrast=0.4 * strength,
            saturation=0.2 * strength,
            hue=0.1 * strength,
            grey=0.2,
            blur=blur_of(blurs[kind], (1.0, 0.1, 0.5)[kind], size),
            solarize=solarize[kind],
            mean=mean,
            std=std,
        )

    views = [view(0, size, 1, scale), view(1, size, 1, scale)]
    if local_count:
        views.append(view(2, local_size or small(size), local_count, local_scale))
    return views


def msn(
    size: int = 224,
    local_size: int | None = None,
    count: int = 1,
    local_count: int = 10,
    strength: float = 0.5,
    scale: tuple[float, float] = (0.3, 1.0),
    local_scale: tuple[float, float] = (0.05, 0.3),
    blur: float | None = None,
    mean: Numbers = IMAGENET_MEAN,
    std: Numbers = IMAGENET_STD,
) -> list[ViewSpec]:
    """MSN's target view, then anchors: one as large, ten small (arXiv:2204.07141, section 4).

    Args:
        size: Side of the target and of large anchors in pixels.
        local_size: Side of small anchors; None for 3/7 of the size in multiples of 8 (224 -> 96).
        count: Number of large anchors, which the method masks.
        local_count: Number of small anchors, 0 for none.
        strength: Of the colour jitter, as in ``swav``.
        scale: Range of a large crop's area.
        local_scale: Range of a small crop's area.
        blur: Probability of a blur; None for 0.5 above 32 pixels, else 0.
        mean: Per channel; None with ``std=None`` to keep values in [0, 1].
        std: Per channel.
    """
    return swav(
        size, local_size, 1 + count, local_count, strength, scale, local_scale, blur,
        mean=mean, std=std,
    )  # fmt: skip


def small(size: int) -> int:
    """Return the side of local views that goes with a global one: 3/7 of it, a multiple of 8."""
    return max(8, round(size * 3 / 7 / 8) * 8)
