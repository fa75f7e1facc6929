from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sslight.modules.prototypes import FixedPrototypes, Prototypes
from sslight.schedules import Clock


def test_scores_are_cosines():
    prototypes, x = Prototypes(4, 6), torch.randn(3, 4)
    (scores,) = prototypes(10 * x)
    expected = F.cosine_similarity(x[:, None], prototypes.weight[None], dim=2)
    torch.testing.assert_close(scores, expected)


def test_fixed_ones_give_the_same_cosines_and_do_not_learn():
    prototypes, x = Prototypes(4, 6), torch.randn(3, 4)
    fixed = FixedPrototypes(prototypes.weight)
    assert torch.equal(fixed(x), prototypes(x)[0])
    assert not list(fixed.parameters())
    assert "rows" in fixed.state_dict()


def test_several_heads_split_the_rows():
    prototypes, x = Prototypes(4, (2, 3)), torch.randn(5, 4)
    first, second = prototypes(x)
    assert (first.shape, second.shape) == ((5, 2), (5, 3))
    torch.testing.assert_close(second, F.normalize(x, dim=1) @ prototypes.weight[2:].T)


def test_rows_have_length_one_from_the_start_and_after_each_step():
    prototypes = Prototypes(4, 6)
    torch.testing.assert_close(prototypes.weight.norm(dim=1), torch.ones(6))
    with torch.no_grad():
        prototypes.weight.mul_(torch.arange(1.0, 7)[:, None])
    before = prototypes.weight.clone()
    prototypes.after_step(Clock(0, 10, 5))
    torch.testing.assert_close(prototypes.weight, F.normalize(before, dim=1))
    assert prototypes.weight.requires_grad


def test_the_gradient_is_that_of_the_plain_product():
    prototypes, x = Prototypes(4, 6), F.normalize(torch.randn(3, 4), dim=1)
    prototypes(x)[0].sum().backward()
    torch.testing.assert_close(prototypes.weight.grad, x.sum(0).expand(6, 4))


def test_scores_are_float32_under_autocast():
    prototypes, x = Prototypes(4, 6), torch.randn(3, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (scores,) = prototypes(x)
    assert torch.equal(scores, prototypes(x)[0])


@pytest.mark.parametrize("wrong", [0, (), (3, 0)])
def test_wrong_numbers_are_said(wrong):
    with pytest.raises(ValueError, match="num_prototypes is"):
        Prototypes(4, wrong)
