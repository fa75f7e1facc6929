from __future__ import annotations

import pytest
import torch

from sslight.augment.masks import BlockMasks
from sslight.modules.masked_tokens import masked_tokens

MASKS = torch.tensor([[0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 0]]).bool()


def test_masked_patches_in_order_and_how_many_share_an_image():
    masked = masked_tokens(MASKS, 5)
    assert masked.places.tolist() == [1, 3, 8, 9, 10]
    assert masked.in_image.tolist() == [2, 2, 3, 3, 3]
    assert masked.images == 3
    tokens = torch.arange(24.0).view(3, 4, 2)
    assert torch.equal(masked.of(tokens), tokens[MASKS])


@pytest.mark.parametrize("count", [8, None])
def test_what_fills_up_the_number_is_said_not_to_be_masked(count):
    masked = masked_tokens(MASKS, count)
    assert len(masked.places) == (count or 12)
    assert masked.places.tolist()[:5] == [1, 3, 8, 9, 10]
    assert not masked.in_image[5:].any()
    assert len(set(masked.places.tolist())) == len(masked.places)


def test_the_worker_counts_for_it():
    drawn = BlockMasks(4).draw(0, 0, torch.arange(16))
    masks = torch.cat(drawn["masks"])
    assert drawn["n_masked"] == masks.sum()
    masked = masked_tokens(masks, drawn["n_masked"])
    assert masked.in_image.all()


def test_refuses_what_is_no_mask():
    with pytest.raises(ValueError, match=r"bool \[B, P\], got torch.float32 \(2, 3\)"):
        masked_tokens(torch.ones(2, 3))
