from __future__ import annotations

import pytest
import torch

from sslight.modules.lab import rgb_to_lab


def lab(*rgb: float) -> list[float]:
    return (
        rgb_to_lab(torch.tensor(rgb, dtype=torch.float64)[None, :, None, None]).flatten().tolist()
    )


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((1, 1, 1), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 1, 0), (87.74, -86.18, 83.18)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
        ((0.5, 0.5, 0.5), (53.39, 0, 0)),
    ],
)
def test_known_colours(rgb, expected):
    assert lab(*rgb) == pytest.approx(expected, abs=0.02)


def test_low_precision_is_computed_in_float32_also_under_autocast():
    images = torch.rand(2, 3, 4, 4).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = rgb_to_lab(images)
    assert out.dtype == torch.float32
    assert torch.equal(out, rgb_to_lab(images.float()))


def test_values_outside_are_clipped():
    assert lab(1.5, -0.2, 0) == pytest.approx(lab(1, 0, 0))


def test_other_channels_are_refused():
    with pytest.raises(ValueError, match=r"RGB images \[B, 3, \.\.\.\].*got \(2, 1, 4, 4\)"):
        rgb_to_lab(torch.rand(2, 1, 4, 4))
