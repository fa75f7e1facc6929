"""Block-wise masks: exact numbers, the law of the ratios, and no dependence on the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sslight.augment.masks import BlockMasks, rectangles
from sslight.augment.parts import Part

INDEX = torch.arange(512)


def draw(masks: BlockMasks, epoch: int = 0, index: Tensor = INDEX) -> Tensor:
    """Return all masks, [views, B, P]."""
    return torch.stack(masks.draw(7, epoch, index)["masks"])


@pytest.mark.parametrize("grid", [2, 4, 7, 14, 16])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.6, 1.0])
def test_the_number_of_masked_patches_is_exact(grid: int, ratio: float) -> None:
    mask = draw(BlockMasks(grid, views=1, prob=1.0, ratio=(ratio, ratio)))
    assert mask.dtype == torch.bool
    assert mask.shape == (1, 512, grid * grid)
    assert (mask.sum(-1) == round(ratio * grid * grid)).all()


def test_half_of_the_views_are_masked_with_uniform_ratios() -> None:
    mask = draw(BlockMasks(14), index=torch.arange(4096))
    share = mask.double().mean(-1)
    assert mask.shape == (2, 4096, 196)
    assert (share > 0).double().mean() == pytest.approx(0.5, abs=0.02)
    masked = share[share > 0]
    assert masked.min() >= 0.1 - 1 / 196
    assert masked.max() <= 0.5 + 1 / 196
    assert masked.mean() == pytest.approx(0.3, abs=0.01)
    assert masked.std() == pytest.approx(0.4 / 12**0.5, abs=0.01)


def test_views_and_epochs_and_seeds_differ() -> None:
    part = BlockMasks(14, prob=1.0)
    first, second = draw(part)
    assert (first != second).any(1).all()
    assert (first != draw(part, epoch=1)[0]).any(1).all()
    assert (first != part.draw(8, 0, INDEX)["masks"][0]).any(1).all()


def test_a_sample_gets_its_masks_in_any_batch_and_epoch_tensor() -> None:
    part = BlockMasks(14)
    whole = draw(part, epoch=3)
    some = torch.tensor([5, 400, 17])
    assert torch.equal(draw(part, epoch=3, index=some), whole[:, some])
    epochs = torch.tensor([3, 3, 3])
    assert torch.equal(torch.stack(part.draw(7, epochs, some)["masks"]), whole[:, some])
    assert draw(part, index=INDEX[:0]).shape == (2, 0, 196)


def test_masks_are_blocks_and_no_place_is_preferred_by_side() -> None:
    mask = draw(BlockMasks(14, views=1, prob=1.0, ratio=(0.4, 0.4)), index=torch.arange(4096))
    grid = mask[0].view(-1, 14, 14).double()
    pairs = (grid[:, :, 1:] == grid[:, :, :-1]).double().mean()
    assert pairs > 0.8  # independent patches would agree with their neighbours in 0.52
    place = grid.mean(0)
    assert torch.allclose(place, place.flip(0), atol=0.05)
    assert torch.allclose(place, place.flip(1), atol=0.05)
    assert torch.allclose(place, place.T, atol=0.05)


def test_rectangles_are_what_slices_give() -> None:
    top, height, left, width = torch.tensor([[1, 0], [2, 3], [0, 2], [4, 1]])
    expected = np.zeros((2, 4, 4), dtype=bool)
    expected[0, 1:3, 0:4] = True
    expected[1, 0:3, 2:3] = True
    assert np.array_equal(rectangles(top, height, left, width, 4).numpy(), expected)


def test_a_part_is_checked_when_it_is_made() -> None:
    assert isinstance(BlockMasks(14, ratio=[0.1, 0.5]), Part)  # type: ignore[arg-type]
    assert BlockMasks(14, ratio=[0.1, 0.5]) == BlockMasks(14)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="masks: grid must be a whole number from 1 on, got 0"):
        BlockMasks(0)
    with pytest.raises(ValueError, match=r"masks: prob must lie within \[0, 1\].* got 1.5"):
        BlockMasks(14, prob=1.5)
    with pytest.raises(ValueError, match=r"masks: ratio must lie .* low before high; got \(0.5, "):
        BlockMasks(14, ratio=(0.5, 0.1))
