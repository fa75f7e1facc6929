"""What a view is made of: one frozen record, checked when it is built."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Colors = Literal["exact", "linear"]

#: Fields that are the probability of an operation; the second lot changes colours or sharpness.
_RETOUCHES = ("jitter", "photometric", "grey", "blur", "solarize")
PROBABILITIES = ("flip", "vertical_flip", *_RETOUCHES)

#: Fields whose operation is defined on red, green and blue.
_NEEDS_RGB = ("contrast", "saturation", "hue", "grey")


@dataclass(frozen=True)
class ViewSpec:
    """One kind of view; ``count`` of them are cut from each image.

    The operations are applied in this order: crop, flips, colour jitter, photometric ones, grey,
    blur, solarize, normalisation. Each is off at its default. A probability is drawn per sample and
    view.

    Args:
        size: Height and width of the view in pixels.
        count: Number of views of this kind.
        local: A small crop of a multi-crop method: it comes after the global views and is not
            counted in ``n_global``.
        crop: ``random``: a random area and aspect ratio, resized (torchvision's
            ``RandomResizedCrop``); ``center``: shorter side resized to ``resize``, then the middle;
            ``none``: the image has the view's size already.
        scale: Smallest and largest area of a random crop, as a share of the image's.
        ratio: Smallest and largest width / height of a random crop.
        interpolation: ``bilinear`` or ``bicubic``, both with antialiasing.
        resize: Shorter side before a centre crop. None means ``round(size * 8 / 7)`` above 64
            pixels (224 -> 256) and ``size`` up to 64, so that small images are neither enlarged nor
            cut.
        flip: Probability of a left-right flip.
        vertical_flip: Probability of a top-bottom flip.
        jitter: Probability of the colour jitter: the four below, in random order.
        brightness: A float ``b`` draws the factor from [max(0, 1 - b), 1 + b]; or (low, high).
        contrast: As ``brightness``.
        saturation: As ``brightness``.
        hue: A float ``h`` draws the shift, in turns of the colour circle, from [-h, h]; or
            (low, high) within [-0.5, 0.5].
        photometric: Probability of PIRL's four operations together, as in VISSL: posterize to 4 to
            8 bits, sharpness times 0.1 to 1.9, solarize from any threshold, autocontrast.
        grey: Probability of a grey image (three equal channels).
        colors: ``exact``: jitter and grey as torchvision computes them; ``linear``: as one matrix
            per image, before the photometric operations, see :mod:`sslight.augment.twist`.
        blur: Probability of a Gaussian blur.
        blur_sigma: Range of the blur's standard deviation in pixels.
        blur_kernel: Odd width of the blur's kernel; None for a tenth of the size as in SimCLR:
            ``2 * floor(size / 20) + 1``, at least 3 (224 -> 23, 96 -> 9, 32 -> 3).
        solarize: Probability of inverting all values from ``solarize_threshold`` on.
        solarize_threshold: In [0, 1].
        mean: Per channel, subtracted from values in [0, 1]; one number serves all channels. None,
            with ``std=None``, leaves values in [0, 1].
        std: Per channel, divides.
        anchor: Side of a further copy of each random crop, flipped as the view is and otherwise as
            in the image, or None: the batch's ``anchors``, which a frozen teacher sees.

    Raises:
        ValueError: A field has a value it cannot have.
    """

    size: int
    count: int = 1
    local: bool = False
    crop: Literal["random", "center", "none"] = "random"
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    resize: int | None = None
    flip: float = 0.0
    vertical_flip: float = 0.0
    jitter: float = 0.0
    brightness: float | tuple[float, float] = 0.0
    contrast: float | tuple[float, float] = 0.0
    saturation: float | tuple[float, float] = 0.0
    hue: float | tuple[float, float] = 0.0
    photometric: float = 0.0
    grey: float = 0.0
    colors: Colors = "exact"
    blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    blur_kernel: int | None = None
    solarize: float = 0.0
    solarize_threshold: float = 0.5
    mean: tuple[float, ...] | None = IMAGENET_MEAN
    std: tuple[float, ...] | None = IMAGENET_STD
    anchor: int | None = None

    def __post_init__(self) -> None:
        self._freeze_sequences()
        self._check_sizes()
        for name in PROBABILITIES:
            _within(name, getattr(self, name), 0.0, 1.0, "a probability")
        _within("solarize_threshold", self.solarize_threshold, 0.0, 1.0, "a value")
        for name in ("scale", "ratio", "blur_sigma"):
            _check_range(name, getattr(self, name), low=0.0, open_low=True)
        _within("scale[1]", self.scale[1], 0.0, 1.0, "a share of the image's area")
        for name in ("brightness", "contrast", "saturation", "hue"):
            self.factor_range(name)
        self._check_normalisation()

    def _freeze_sequences(self) -> None:
        """Turn lists, as YAML writes them, into tuples: the record is hashable and comparable."""
        for name, value in vars(self).items():
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))

    def _check_sizes(self) -> None:
        for name in ("size", "count", "resize", "blur_kernel", "anchor"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or int(value) != value or value < 1):
                raise ValueError(f"view: {name} must be a whole number from 1 on, got {value!r}")
        _one_of("crop", self.crop, ("random", "center", "none"))
        _one_of("interpolation", self.interpolation, ("bilinear", "bicubic"))
        _one_of("colors", self.colors, ("exact", "linear"))
        if self.anchor is not None and self.crop != "random":
            raise ValueError(f"view: an anchor is of a random crop, but crop is {self.crop!r}")
        if self.resize is not None and self.resize < self.size:
            raise ValueError(
                f"view: resize ({self.resize}) is smaller than size ({self.size}): there would be "
                "nothing to cut the view from; write resize >= size, or leave it out"
            )
        if self.kernel % 2 == 0:
            raise ValueError(f"view: blur_kernel must be odd, got {self.blur_kernel}")
        if self.blur > 0 and self.kernel // 2 >= self.size:
            raise ValueError(
                f"view: a blur of {self.kernel} pixels does not fit a view of {self.size}; "
                f"write a blur_kernel below {2 * self.size}, or blur: 0"
            )

    def _check_normalisation(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise ValueError(
                f"view: mean and std come together, got mean={self.mean}, std={self.std}; write "
                "both, or None for both to keep values in [0, 1]"
            )
        if self.mean is None or self.std is None:
            return
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(
                f"view: mean and std need one number per channel each, got {len(self.mean)} and "
                f"{len(self.std)}"
            )
        if min(self.std) <= 0:
            raise ValueError(f"view: std must be above 0, got {self.std}")

    def factor_range(self, name: str) -> tuple[float, float]:
        """Return (low, high) of the jitter factor ``name``."""
        value, is_hue = getattr(self, name), name == "hue"
        low, high, center = (-0.5, 0.5, 0.0) if is_hue else (0.0, math.inf, 1.0)
        if isinstance(value, tuple):
            _check_range(name, value, low=low, high=high)
            return float(value[0]), float(value[1])
        _within(name, value, 0.0, high, "a strength")
        return max(low, center - value), center + value

    @property
    def kernel(self) -> int:
        """Width of the blur's kernel in pixels."""
        return max(3, 2 * (self.size // 20) + 1) if self.blur_kernel is None else self.blur_kernel

    @property
    def resized(self) -> int:
        """Shorter side before a centre crop."""
        if self.resize is not None:
            return self.resize
        return round(self.size * 8 / 7) if self.size > 64 else self.size

    def check_channels(self, channels: int) -> None:
        """Raise a ValueError if the view cannot be made of images with so many channels."""
        used = [name for name in _NEEDS_RGB if self._is_on(name)]
        have = f"the images have {channels} channel{'s' * (channels != 1)}"
        if channels != 3 and used:
            raise ValueError(
                f"view: {', '.join(used)} {'are' if len(used) > 1 else 'is'} defined on RGB, but "
                f"{have}; set to 0: {', '.join(used)}"
            )
        if self.mean is not None and len(self.mean) not in (1, channels):
            raise ValueError(
                f"view: mean and std have {len(self.mean)} numbers, but {have}; write 1 or "
                f"{channels} numbers each, or None for both to keep values in [0, 1]"
            )

    @property
    def of_anchor(self) -> ViewSpec:
        """The anchor's own spec: with the same draws it has the same place and flips."""
        off: dict[str, Any] = dict.fromkeys(_RETOUCHES, 0.0)
        return replace(self, size=self.anchor or self.size, resize=None, anchor=None, **off)

    @property
    def twists(self) -> bool:
        """Whether jitter and grey are done as one matrix per image."""
        return self.colors == "linear" and any(map(self._is_on, _NEEDS_RGB))

    def _is_on(self, name: str) -> bool:
        if name == "grey":
            return self.grey > 0
        neutral = (0.0, 0.0) if name == "hue" else (1.0, 1.0)
        return self.jitter > 0 and self.factor_range(name) != neutral


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"view: {name} must be one of {', '.join(allowed)}; got {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _within(name: str, value: Any, low: float, high: float, what: str) -> None:
    if not (_is_number(value) and low <= value <= high):
        raise ValueError(f"view: {name} is {what} in [{low:g}, {high:g}], got {value!r}")


def _check_range(
    name: str, value: Any, *, low: float, high: float = math.inf, open_low: bool = False
) -> None:
    fits = isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value))
    if not (fits and low <= value[0] <= value[1] <= high and not (open_low and value[0] == low)):
        bounds = f"{low:g} {'<' if open_low else '<='} low <= high <= {high:g}"
        raise ValueError(f"view: {name} is a pair (low, high) with {bounds}, got {value!r}")
