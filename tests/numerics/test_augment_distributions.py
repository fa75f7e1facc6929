"""Drawn parameters follow torchvision's distributions (fixed seeds; two-sample tests)."""

import math

import pytest
import torch
from torchvision.transforms import ColorJitter, RandomResizedCrop

from sslight.augment import Views, ViewSpec
from sslight.augment.crop import random_boxes
from sslight.augment.draws import uniforms
from sslight.augment.params import ORDERS, column

N = 4000


def distance(a, b):
    """Kolmogorov-Smirnov distance, times the root of the effective sample size."""
    values = torch.cat([a, b]).unique()
    cdf = [torch.searchsorted(x.sort().values, values, right=True) / len(x) for x in (a, b)]
    return (cdf[0] - cdf[1]).abs().max().item() * math.sqrt(len(a) * len(b) / (len(a) + len(b)))


#: Exceeded with probability 2e-4 by equal distributions (less where values are discrete).
BOUND = 2.15


def our_boxes(height, width, scale, ratio=(3 / 4, 4 / 3), n=N):
    draws = uniforms(0, 0, torch.arange(n), 0, 22)
    sides = torch.full((n,), height), torch.full((n,), width)
    return random_boxes(ViewSpec(32, scale=scale, ratio=ratio), draws, *sides).double()


def their_boxes(height, width, scale, ratio=(3 / 4, 4 / 3), n=N):
    torch.manual_seed(0)
    image = torch.empty(1, height, width)
    boxes = [RandomResizedCrop.get_params(image, list(scale), list(ratio)) for _ in range(n)]
    return torch.tensor(boxes, dtype=torch.float64)


@pytest.mark.parametrize(
    ("height", "width", "scale"),
    [(32, 32, (0.08, 1.0)), (240, 320, (0.2, 1.0)), (60, 300, (0.3, 0.9)), (200, 20, (0.08, 1.0))],
    ids=["square", "landscape", "often-falls-back", "thin"],
)
def test_random_resized_crop(height, width, scale):
    ours, theirs = our_boxes(height, width, scale), their_boxes(height, width, scale)
    for k in range(4):
        assert distance(ours[:, k], theirs[:, k]) < BOUND
    assert distance(ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3]) < BOUND
    assert distance(ours[:, 3] / ours[:, 2], theirs[:, 3] / theirs[:, 2]) < BOUND
    assert distance(ours[:, 0] * ours[:, 2], theirs[:, 0] * theirs[:, 2]) < BOUND


def test_the_test_would_notice():
    ours, theirs = our_boxes(240, 320, (0.08, 1.0)), their_boxes(240, 320, (0.12, 1.0))
    assert distance(ours[:, 2], theirs[:, 2]) > BOUND


def test_fallback_is_torchvisions():
    # No box of this area fits: every attempt fails.
    for height, width in ((20, 200), (200, 20)):
        ours = our_boxes(height, width, (1.0, 1.0), n=5)
        theirs = their_boxes(height, width, (1.0, 1.0), n=5)
        assert torch.equal(ours, theirs)


def tables(spec):
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8).expand(N, -1, -1, -1)
    return Views([spec]).fetch(images, 0, torch.arange(N))["params"][0]["table"].double()


def test_color_jitter():
    theirs_spec = ColorJitter(0.8, 1.3, 0.4, 0.2)
    spec = ViewSpec(32, jitter=1.0, brightness=0.8, contrast=1.3, saturation=0.4, hue=0.2)
    ours = tables(spec)
    torch.manual_seed(0)
    ranges = [getattr(theirs_spec, n) for n in ("brightness", "contrast", "saturation", "hue")]
    drawn = [ColorJitter.get_params(*ranges) for _ in range(N)]
    for k, name in enumerate(("brightness", "contrast", "saturation", "hue"), start=1):
        theirs = torch.tensor([row[k] for row in drawn], dtype=torch.float64)
        assert distance(column(ours, name), theirs) < BOUND, name
    counts = torch.bincount(column(ours, "order").long(), minlength=len(ORDERS))
    expected = N / len(ORDERS)
    assert ((counts - expected) ** 2 / expected).sum() < 56  # 23 degrees of freedom, p = 1e-4
    assert len(counts) == len(ORDERS)


def test_probabilities_and_independence():
    spec = ViewSpec(
        32, flip=0.5, vertical_flip=0.1, jitter=0.8, hue=0.2, grey=0.2, blur=0.4, solarize=0.3
    )
    table = tables(spec)
    happened = {
        "flip": column(table, "flip"),
        "vertical_flip": column(table, "vertical_flip"),
        "jitter": (column(table, "hue") != 0).double(),
        "grey": column(table, "grey"),
        "blur": (column(table, "sigma") > 0).double(),
        "solarize": column(table, "solarize"),
    }
    for name, value in happened.items():
        p = getattr(spec, name)
        assert value.mean().item() == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / N)), name
    correlation = torch.corrcoef(torch.stack(list(happened.values()))) - torch.eye(6)
    assert correlation.abs().max() < 4 / math.sqrt(N)
    sigma = column(table, "sigma")[happened["blur"].bool()]
    uniform = torch.linspace(0.1, 2.0, 2000, dtype=torch.float64)
    assert distance(sigma, uniform) < BOUND


def test_photometric_values_are_vissls():
    """Whole bits of 4 to 8 and thresholds of 0 to 256, ends included; a factor in [0.1, 1.9)."""
    table = tables(ViewSpec(32, photometric=0.66, grey=0.2))
    on = column(table, "levels") > 0
    p = 0.66
    assert on.double().mean().item() == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / N))
    numbers = int(on.sum())
    bits = torch.bincount(column(table, "levels")[on].log2().long(), minlength=9)
    assert not bits[:4].any()
    expected = numbers / 5
    assert ((bits[4:] - expected) ** 2 / expected).sum() < 24  # 4 degrees of freedom, p = 1e-4
    uniform = torch.linspace(0.1, 1.9, 2000, dtype=torch.float64)
    assert distance(column(table, "sharpness")[on], uniform) < BOUND
    thresholds = column(table, "threshold")[on] * 255
    torch.testing.assert_close(thresholds, thresholds.round(), rtol=0, atol=1e-4)
    whole = torch.arange(257).double().repeat(10)
    assert distance(thresholds.round(), whole) < BOUND
    assert {0.0, 256.0} <= set(thresholds.round().tolist())
    drawn = [column(table, name)[on] for name in ("levels", "sharpness", "threshold", "grey")]
    apart = torch.corrcoef(torch.stack(drawn)) - torch.eye(4)
    assert apart.abs().max() < 4 / math.sqrt(numbers)


def test_neutral_where_the_jitter_is_off():
    table = tables(ViewSpec(32, jitter=0.5, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2))
    off = column(table, "hue") == 0
    assert 0.4 < off.double().mean() < 0.6
    for name in ("brightness", "contrast", "saturation"):
        assert (column(table, name)[off] == 1).all()
        assert (column(table, name)[~off] != 1).all()
