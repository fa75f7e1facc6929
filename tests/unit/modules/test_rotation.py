from __future__ import annotations

import pytest
import torch

from sslight.modules.rotation import all_turns, draw_turns, turned


def test_each_image_turns_by_its_own_number():
    images = torch.rand(5, 2, 6, 6)
    turns = torch.tensor([3, 0, 1, 2, 1])
    expected = [torch.rot90(image, int(k), (1, 2)) for image, k in zip(images, turns, strict=True)]
    assert torch.equal(turned(images, turns), torch.stack(expected))


def test_a_turn_is_counter_clockwise():
    image = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[None, None]
    by_90 = all_turns(image)[1]
    assert by_90[0, 0].tolist() == [[2, 4], [1, 3]]


def test_a_flip_after_a_turn_confuses_90_and_270():
    """Why views are flipped first: the flipped image, turned the other way, is the same picture."""
    image = torch.rand(1, 3, 5, 5)
    _, by_90, by_180, by_270 = all_turns(image)
    flipped = all_turns(image.flip(3))
    assert torch.equal(by_90.flip(3), flipped[3])
    assert torch.equal(by_270.flip(3), flipped[1])
    assert torch.equal(by_180.flip(3), flipped[2])


def test_turns_are_drawn_evenly_from_the_counter():
    index = torch.arange(8000)
    turns = draw_turns(3, 0, index)
    assert turns.dtype == torch.int64
    assert (turns.bincount(minlength=4) - 2000).abs().max() < 160  # 4 standard deviations
    assert torch.equal(draw_turns(3, 0, index[100:110]), turns[100:110])
    for other in (draw_turns(4, 0, index), draw_turns(3, 1, index), draw_turns(3, 0, index, 1)):
        assert 0.7 < (other != turns).float().mean() < 0.8


def test_oblong_images_are_refused():
    with pytest.raises(ValueError, match=r"square images.*got \(1, 3, 4, 6\)"):
        all_turns(torch.rand(1, 3, 4, 6))
