"""How far an image may be reduced before its views are cut."""

import pytest
import torch

from sslight.augment import Views, ViewSpec
from sslight.augment.presets import simclr
from sslight.augment.reduced import FACTORS, Reducing, largest_factor


@pytest.mark.parametrize(
    ("shrink", "factor"),
    [(0.3, 1), (1.0, 1), (1.99, 1), (2.0, 2), (3.9, 2), (4.0, 4), (8.0, 8), (100.0, 8)],
)
def test_the_largest_factor_that_enlarges_no_view(shrink, factor):
    assert largest_factor(shrink) == factor


def smallest_shrink(make, epoch, index, height, width):
    """The least of region / view over all views, from what `fetch` draws for such an image."""
    fetched = make.fetch([torch.zeros(3, height, width, dtype=torch.uint8)], epoch, index)
    boxes = [params["crop"][0, 2:].min().item() for params in fetched["params"]]
    return min(side / spec.size for side, spec in zip(boxes, make.each, strict=True))


MULTI_CROP = [ViewSpec(32, count=2), ViewSpec(12, count=4, local=True, scale=(0.05, 0.3))]


@pytest.mark.parametrize("specs", [simclr(16), MULTI_CROP], ids=["simclr", "multi-crop"])
def test_views_reduce_as_far_as_their_smallest_region_allows(specs):
    make, seen = Views(specs, seed=5), set()
    for i in range(60):
        height, width = 70 + 11 * i, 500 - 7 * i
        factor = make.reduction(3, i, height, width)
        shrink = smallest_shrink(make, 3, torch.tensor([i]), height, width)
        assert factor == max(f for f in FACTORS if f == 1 or f <= shrink)
        seen.add(factor)
    assert len(seen) >= 3


def test_a_centre_crop_reduces_as_far_as_what_is_resized():
    make = Views([ViewSpec(24, crop="center", resize=30)])
    sides = [59, 60, 119, 120, 240, 5000]
    assert [make.reduction(0, 0, side, 9999) for side in sides] == [1, 2, 2, 4, 8, 8]
    assert [make.reduction(0, 0, 9999, side) for side in sides] == [1, 2, 2, 4, 8, 8]


def test_views_that_take_images_as_they_are_reduce_nothing():
    assert Views([ViewSpec(8), ViewSpec(8, crop="none")]).reduction(0, 0, 4000, 4000) == 1


def test_only_who_has_a_reduction_is_reducing():
    assert isinstance(Views([ViewSpec(8)]), Reducing)
    assert not isinstance(torch.nn.Identity(), Reducing)
