from __future__ import annotations

import pytest
import torch

from sslight.losses.swav import swapped_prediction


def test_one_view_is_refused():
    with pytest.raises(ValueError, match=r"two or more crops .* got 1 scores and 1 codes"):
        swapped_prediction([torch.ones(2, 3)], [torch.ones(2, 3)])


def test_more_codes_than_crops_are_refused():
    with pytest.raises(ValueError, match="got 2 scores and 3 codes"):
        swapped_prediction([torch.ones(2, 3)] * 2, [torch.ones(2, 3)] * 3)


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"one shape \[B, K\], got \[\(2, 3\), \(2, 4\)\]"):
        swapped_prediction([torch.ones(2, 3)] * 2, [torch.ones(2, 4)])


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        swapped_prediction([torch.ones(2, 3)] * 2, [torch.ones(2, 3)], 0)


def test_codes_get_no_gradient():
    scores = torch.randn(2, 4, 3, requires_grad=True)
    codes = torch.rand(2, 4, 3, requires_grad=True)
    swapped_prediction(scores.unbind(), codes.unbind()).backward()
    assert codes.grad is None
    assert scores.grad is not None
