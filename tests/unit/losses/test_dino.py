from __future__ import annotations

import pytest
import torch

from sslight.losses.dino import centered_softmax, dino_loss


@pytest.mark.parametrize(("students", "targets"), [(1, 1), (2, 0), (2, 3)])
def test_refuses_numbers_of_crops_that_make_no_pairs(students, targets):
    crop = torch.ones(2, 3)
    with pytest.raises(ValueError, match=f"got {students} students and {targets} targets"):
        dino_loss([crop] * students, [crop] * targets)


def test_refuses_shapes_that_do_not_agree():
    with pytest.raises(ValueError, match=r"one shape \[B, K\], got"):
        dino_loss([torch.ones(2, 3), torch.ones(2, 3)], [torch.ones(2, 4)])


def test_refuses_a_center_of_another_width():
    with pytest.raises(ValueError, match=r"differ in K: \(2, 3\) and \(4,\)"):
        centered_softmax(torch.ones(2, 3), torch.ones(4), 0.1)


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_refuses_a_temperature_that_is_none(temperature):
    crop = torch.ones(2, 3)
    with pytest.raises(ValueError, match="above 0"):
        dino_loss([crop, crop], [crop], temperature)
    with pytest.raises(ValueError, match="above 0"):
        centered_softmax(crop, torch.zeros(3), temperature)


def test_targets_get_no_gradient():
    students = [torch.randn(2, 3, requires_grad=True) for _ in range(2)]
    logits = torch.randn(2, 3, requires_grad=True)
    target = centered_softmax(logits, torch.zeros(3), 0.1)
    assert not target.requires_grad
    loss = dino_loss(students, [logits.softmax(1)])
    assert torch.autograd.grad(loss, logits, allow_unused=True) == (None,)
