from __future__ import annotations

import pytest
import torch

from sslight.modules.masking import mask_noise, random_masking, square_masking


def test_noise_belongs_to_the_image_not_to_its_place_in_the_batch():
    index = torch.tensor([7, 3, 11])
    noise = mask_noise(0, 2, index, 2, 5)
    assert noise.shape == (6, 5)
    turned = mask_noise(0, 2, index.flip(0), 2, 5)
    assert torch.equal(turned[:3], noise[:3].flip(0))
    assert not torch.equal(noise[:3], noise[3:]), "views differ"
    assert not torch.equal(mask_noise(0, 3, index, 2, 5), noise), "epochs differ"
    assert not torch.equal(mask_noise(1, 2, index, 2, 5), noise), "seeds differ"


def test_the_smallest_noise_stays_visible():
    noise = torch.tensor([[0.5, 0.1, 0.9, 0.3], [0.2, 0.8, 0.4, 0.6]])
    keep, mask = random_masking(noise, 0.5)
    assert keep.tolist() == [[1, 3], [0, 2]]
    assert mask.tolist() == [[True, False, True, False], [False, True, False, True]]


@pytest.mark.parametrize(
    ("patches", "ratio", "visible"), [(196, 0.75, 49), (10, 0.9, 1), (64, 0.8, 12), (16, 0.3, 11)]
)
def test_how_many_stay_visible(patches, ratio, visible):
    keep, mask = random_masking(torch.rand(2, patches), ratio)
    assert keep.shape == (2, visible)
    assert mask.sum(1).tolist() == [patches - visible] * 2
    assert not mask.gather(1, keep).any()


def test_every_patch_is_hidden_equally_often():
    noise = mask_noise(0, 0, torch.arange(4000), 1, 8)
    rate = random_masking(noise, 0.75)[1].double().mean(0)
    torch.testing.assert_close(rate, torch.full_like(rate, 0.75), rtol=0, atol=0.03)


def test_squares():
    noise = torch.tensor([[0.9, 0.1, 0.5, 0.3, 0.8, 0.7]])  # 2 x 3 squares
    mask = square_masking(noise, (4, 6), 2, 0.34).view(4, 6).int()
    # 0.34 x 6, rounded up, are 3 squares: those with 0.1, 0.3 and 0.5.
    assert mask.tolist() == [[0, 0, 1, 1, 1, 1]] * 2 + [[1, 1, 0, 0, 0, 0]] * 2


def test_errors():
    for ratio in (0.99, 0.0):
        with pytest.raises(ValueError, match=f"mask_ratio {ratio}"):
            random_masking(torch.rand(1, 4), ratio)
