"""Views that methods cut patches from, on the device."""

from __future__ import annotations

from sslight.augment.presets.common import Numbers
from sslight.augment.spec import IMAGENET_MEAN, IMAGENET_STD, ViewSpec


def pirl(
    size: int = 224,
    patches_size: int | None = None,
    strength: float = 1.0,
    scale: tuple[float, float] = (0.08, 1.0),
    patches_scale: tuple[float, float] = (0.6, 1.0),
    grey: float = 0.2,
    photometric: float = 0.0,
    mean: Numbers = IMAGENET_MEAN,
    std: Numbers = IMAGENET_STD,
) -> list[ViewSpec]:
    """A view and a larger crop to cut patches from (PIRL, arXiv:1912.01991, as in VISSL).

    Args:
        size: Side of the view in pixels.
        patches_size: Side of the crop for patches; None for 255/224 of the size.
        strength: Of both colour jitters: 0.4 s brightness, contrast and saturation, 0.2 s hue.
        scale: Range of the view's area.
        patches_scale: Range of the area of the crop for patches.
        grey: Probability of a grey view, and of a grey crop.
        photometric: Probability that a view, or crop, is posterized, sharpened or smoothed,
            solarized and stretched in contrast; 0.66 in VISSL.
        mean: Per channel; None with ``std=None`` to keep values in [0, 1].
        std: Per channel.

    Note:
        VISSL draws colours and flip for each patch by itself, here the patches of an image share
        them.
    """

    def view(size: int, scale: tuple[float, float], local: bool) -> ViewSpec:
        return ViewSpec(
            size=size,
            local=local,
            scale=scale,
            flip=0.5,
            jitter=1.0,
            brightness=0.4 * strength,
            contrast=0.4 * strength,
            saturation=0.4 * strength,
            hue=0.2 * strength,
            photometric=photometric,
            grey=grey,
            mean=mean,
            std=std,
        )

    patches_size = patches_size or round(size * 255 / 224)
    return [view(size, scale, False), view(patches_size, patches_scale, True)]


def jigsaw(
    size: int = 255,
    scale: tuple[float, float] = (0.5, 1.0),
    grey: float = 0.66,
    mean: Numbers = IMAGENET_MEAN,
    std: Numbers = IMAGENET_STD,
) -> list[ViewSpec]:
    """A square crop, often grey, to cut a puzzle from (Goyal et al., 2019, arXiv:1905.01235).

    Args:
        size: Side of the view in pixels; a third of it is a cell of the puzzle.
        scale: Range of the crop's area, as a share of the image's.
        grey: Probability of a grey view, so that colour borders do not give the places away.
        mean: Per channel; None with ``std=None`` to keep values in [0, 1].
        std: Per channel.

    Note:
        VISSL resizes the shorter side to 256 and crops 255 at random, so a crop is as high, or as
        wide, as the image. Here it may be smaller, down to ``scale``.
    """
    return [
        ViewSpec(size=size, scale=scale, ratio=(1.0, 1.0), flip=0.5, grey=grey, mean=mean, std=std)
    ]
