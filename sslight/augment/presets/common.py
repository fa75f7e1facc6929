"""What presets share."""

from __future__ import annotations

from typing import Literal

Interpolation = Literal["bilinear", "bicubic"]
Numbers = tuple[float, ...] | None


def blur_of(wanted: float | None, published: float, size: int) -> float:
    """Return the blur's probability: as wanted, else as published above 32 pixels, else 0."""
    if wanted is not None:
        return wanted
    return published if size > 32 else 0.0
