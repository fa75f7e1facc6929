"""Linear colours: equal to the operations one by one where nothing is clamped, near elsewhere."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from sslight.augment import ViewSpec
from sslight.augment.params import COLUMNS, HUE, ORDERS, draw_params
from sslight.augment.presets import simclr
from sslight.augment.twist import twist_
from sslight.augment.views import Views, make_views

SPEC = ViewSpec(
    8, crop="none", jitter=1.0, brightness=0.3, contrast=0.4, saturation=0.5, hue=0.4, grey=0.3,
    mean=None, std=None, colors="linear",
)  # fmt: skip
GREY = torch.tensor([0.2989, 0.587, 0.114], dtype=torch.float64)


def by_hand(image: torch.Tensor, row: dict[str, float]) -> torch.Tensor:
    """One operation after the other, float64, unclamped."""
    x = image.double().flatten(1)  # [3, P]
    for operation in ORDERS[int(row["order"])]:
        grey = GREY @ x
        if operation == HUE:
            x = turned(x, row["hue"])
        else:
            name = ("brightness", "contrast", "saturation")[operation]
            anchor = {
                "brightness": 0 * grey,
                "contrast": 0 * grey + grey.mean(),
                "saturation": grey,
            }
            x = row[name] * x + (1 - row[name]) * anchor[name]
    return (GREY @ x).expand(3, -1) if row["grey"] else x


def turned(x: torch.Tensor, turns: float) -> torch.Tensor:
    """Turn each pixel's (I, Q) as a complex number."""
    luma = GREY @ x
    i = torch.tensor([0.595716, -0.274453, -0.321263], dtype=torch.float64) @ x
    q = torch.tensor([0.211456, -0.522591, 0.311135], dtype=torch.float64) @ x
    chroma = torch.complex(i, q) * torch.polar(
        torch.tensor(1.0, dtype=torch.float64),
        torch.tensor(-2 * math.pi * turns, dtype=torch.float64),
    )
    yiq = torch.stack(
        [
            GREY,
            torch.tensor([0.595716, -0.274453, -0.321263], dtype=torch.float64),
            torch.tensor([0.211456, -0.522591, 0.311135], dtype=torch.float64),
        ]
    )
    return torch.linalg.solve(yiq, torch.stack([luma, chroma.real, chroma.imag]))


def drawn(n: int, spec: ViewSpec = SPEC):
    sizes = torch.full((n,), 8)
    return draw_params(spec, 3, 0, torch.arange(n), 0, sizes, sizes)


def test_it_is_the_operations_in_their_drawn_order():
    images = torch.rand(60, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4
    params = drawn(60)
    assert len(params["table"][:, COLUMNS.index("order")].unique()) > 15
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in params["table"].tolist()]
    expected = torch.stack([by_hand(x, row) for x, row in zip(images, rows, strict=True)])
    out = twist_(images.clone(), params["twist"]).flatten(2)
    torch.testing.assert_close(out, expected.clamp(0, 1).float(), rtol=0, atol=1e-5)
    inside = (expected > 0) & (expected < 1)
    assert inside.float().mean() > 0.9


def test_hue_turns_the_way_the_exact_one_does():
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    spec = replace(SPEC, brightness=0.0, contrast=0.0, saturation=0.0, grey=0.0, hue=(1 / 3, 1 / 3))
    out = twist_(red.clone(), drawn(1, spec)["twist"]).flatten()
    assert out.argmax() == 1


def test_views_are_near_the_exact_ones_and_equal_where_no_colour_changes():
    images = [torch.randint(64, 192, (3, 40, 40), dtype=torch.uint8) for _ in range(32)]
    specs = [replace(spec, mean=None, std=None) for spec in simclr(32, strength=0.5)]
    index = torch.arange(32)
    exact, linear = (make_views(specs, colors=colors) for colors in ("exact", "linear"))
    assert [spec.colors for spec in linear.specs] == ["linear"]
    far = torch.stack(exact(images, 0, index)) - torch.stack(linear(images, 0, index))
    assert 0 < far.abs().mean() < 0.03
    plain = [ViewSpec(32, flip=0.5)]
    pairs = zip(
        make_views(plain)(images, 0, index),
        make_views(plain, colors="linear")(images, 0, index),
        strict=True,
    )
    assert all(torch.equal(a, b) for a, b in pairs)


def test_large_images_one_by_one_equal_the_batch(monkeypatch):
    from sslight.augment import pixels

    images = [torch.randint(256, (3, 40, 40), dtype=torch.uint8) for _ in range(6)]
    maker = make_views(simclr(32), colors="linear")
    together = maker(images, 0, torch.arange(6))
    monkeypatch.setattr(pixels, "_ALONE", 1)
    for a, b in zip(together, maker(images, 0, torch.arange(6)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_photometric_operations_follow_the_matrix():
    images = [torch.randint(256, (3, 40, 40), dtype=torch.uint8) for _ in range(16)]
    spec = replace(SPEC, size=40, photometric=1.0, grey=1.0)
    (view,) = make_views([spec])(images, 0, torch.arange(16))
    torch.testing.assert_close(view, view[:, :1].expand_as(view), rtol=0, atol=0.1)
    (plain,) = make_views([replace(spec, photometric=0.0)])(images, 0, torch.arange(16))
    assert (view - plain).abs().mean() > 0.1


def test_refusals():
    with pytest.raises(ValueError, match="colors must be one of exact, linear"):
        ViewSpec(8, colors="quick")
    with pytest.raises(ValueError, match="is for view specs"):
        make_views(Views([ViewSpec(8)]), colors="linear")
    with pytest.raises(ValueError, match="defined on RGB"):
        make_views(simclr(8), colors="linear")([torch.zeros(1, 8, 8, dtype=torch.uint8)] * 2)


@pytest.mark.parametrize("channels", [1, 4])
def test_brightness_of_other_channels_stays_as_it_is(channels):
    spec = ViewSpec(8, jitter=1.0, brightness=0.5, mean=None, std=None)
    images = [torch.randint(256, (channels, 8, 8), dtype=torch.uint8) for _ in range(3)]
    index = torch.arange(3)
    for a, b in zip(
        make_views([spec])(images, 0, index),
        make_views([spec], colors="linear")(images, 0, index),
        strict=True,
    ):
        assert torch.equal(a, b)
