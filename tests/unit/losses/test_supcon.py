from __future__ import annotations

import pytest
import torch

from sslight.losses.supcon import identity, supcon

VIEW, LABEL = torch.ones(2, 3), torch.tensor([0, 1])


def test_refuses_views_of_different_shapes():
    with pytest.raises(ValueError, match=r"two or more views of one shape.*\(2, 3\), \(2, 4\)"):
        supcon([VIEW, torch.ones(2, 4)], LABEL)


def test_refuses_a_single_view():
    with pytest.raises(ValueError, match="two or more views"):
        supcon([VIEW], LABEL)


@pytest.mark.parametrize("shape", [(3,), (2, 4)])
def test_refuses_labels_that_are_not_one_class_per_image(shape):
    with pytest.raises(ValueError, match=r"one class id per image, \[2\]"):
        supcon([VIEW, VIEW], torch.zeros(shape, dtype=torch.int64))


@pytest.mark.parametrize("name", ["temperature", "base_temperature"])
def test_refuses_temperatures_of_zero(name):
    with pytest.raises(ValueError, match=f"supcon: {name} must be above 0"):
        supcon([VIEW, VIEW], LABEL, **{name: 0.0})


def test_each_unknown_image_is_a_class_of_its_own():
    numbers = identity(torch.tensor([4, -1, 4, -1]), 2, gather=False).tolist()
    assert numbers[:4] == numbers[4:]
    assert numbers[0] == numbers[2] == 4
    assert len({*numbers}) == 3


def test_an_unknown_image_is_pushed_away_by_all_others():
    a = torch.eye(3).requires_grad_()
    label = torch.tensor([0, 0, -1])
    (grad,) = torch.autograd.grad(supcon([a, a], label, 1.0, 1.0), a)
    assert grad[2, 0] > 0
    assert grad[2, 1] > 0
