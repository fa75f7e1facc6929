from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from sslight.modules.patches import jittered_patches, patch_side, random_orders, reordered

INDEX = torch.tensor([8, 3])


def coordinates(batch: int = 2, height: int = 24, width: int = 30) -> torch.Tensor:
    """Images whose pixels say where they are: image, row, column."""
    axes = [torch.arange(n) for n in (batch, height, width)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=1)


def cut(index: torch.Tensor = INDEX, epoch: int = 0, seed: int = 1, **options) -> torch.Tensor:
    return jittered_patches(coordinates(len(index)), index, seed=seed, epoch=epoch, **options)


@pytest.mark.parametrize(("grid", "size"), [(3, 5), (3, 8), (2, 1), (1, 24)])
def test_each_patch_is_a_square_of_its_cell(grid, size):
    patches = cut(grid=grid, size=size)
    assert patches.shape == (2, grid**2, 3, size, size)
    images, high, wide = coordinates(), 24 // grid, 30 // grid
    for b in range(2):
        for p in range(grid**2):
            _, top, left = patches[b, p, :, 0, 0].tolist()
            assert p // grid * high <= top <= (p // grid + 1) * high - size
            assert p % grid * wide <= left <= (p % grid + 1) * wide - size
            expected = images[b, :, top : top + size, left : left + size]
            assert torch.equal(patches[b, p], expected)


def test_every_place_of_the_cell_occurs_equally_often():
    index = torch.arange(400)
    corners = cut(index, size=5)[:, :, 1:, 0, 0]  # [400, 9, 2]
    rows, columns = (corners - corners.amin(0)).flatten(0, 1).unbind(1)
    for places, count in ((rows, 4), (columns, 6)):  # cells of 8 x 10
        seen = torch.bincount(places) / len(places)
        assert len(seen) == count
        assert (seen - 1 / count).abs().max() < 0.03


#: Anything drawn: places, orders.
DRAWN: list[Callable[..., torch.Tensor]] = [
    lambda index, **draw: cut(index, size=4, **draw)[:, :, 1:],
    lambda index, **draw: random_orders(index, 9, **{"seed": 1, "epoch": 0, **draw}),
]


@pytest.mark.parametrize("drawn", DRAWN)
def test_draws_depend_on_seed_epoch_and_image_only(drawn):
    first = drawn(INDEX)
    assert torch.equal(drawn(INDEX.flip(0)).flip(0), first)
    assert torch.equal(drawn(INDEX[1:]), first[1:])
    for other in (drawn(INDEX, epoch=1), drawn(INDEX, seed=2), drawn(INDEX + 1)):
        assert not torch.equal(other, first)


def test_orders_are_permutations_of_all_kinds():
    orders = random_orders(torch.arange(600), 3, seed=0, epoch=0)
    assert torch.equal(orders.sort(1).values, torch.arange(3).expand(600, 3))
    counts = orders.unique(dim=0, return_counts=True)[1]
    assert len(counts) == 6
    assert (counts - 100).abs().max() < 35


def test_reordering_puts_patches_where_the_order_says():
    patches = torch.arange(6).view(2, 3)
    assert reordered(patches, torch.tensor([[2, 0, 1], [0, 2, 1]])).tolist() == [
        [2, 0, 1],
        [3, 5, 4],
    ]


def test_the_usual_size_of_a_patch():
    assert [patch_side(side) for side in (255, 36, 3)] == [64, 9, 1]
    assert cut().shape[-1] == patch_side(24) == 6


@pytest.mark.parametrize("size", [0, 9])
def test_a_patch_that_does_not_fit_its_cell_is_refused(size):
    with pytest.raises(ValueError, match=f"patch of {size} pixels does not fit a cell of 8 x 10"):
        cut(size=size)
