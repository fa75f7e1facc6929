"""Gram anchoring against loops over every pair of patches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sslight.losses.gram import gram_loss


def features(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a / a.norm()) @ (b / b.norm())


def oracle(students: Tensor, anchors: Tensor) -> Tensor:
    terms = [
        (cosine(s[i], s[j]) - cosine(g[i], g[j]).detach()) ** 2
        for s, g in zip(students, anchors, strict=True)
        for i in range(len(s))
        for j in range(len(s))
    ]
    return torch.stack(terms).mean()


@pytest.mark.parametrize(("images", "patches"), [(1, 2), (3, 4)])
@pytest.mark.parametrize("width", [5, 7])
def test_value_and_gradient_equal_the_loops(images, patches, width):
    students, anchors = features(images, patches, 5), features(images, patches, width, seed=1)
    loss, expected = gram_loss(students, anchors), oracle(students, anchors)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-11)
    (mine,), (theirs,) = (torch.autograd.grad(value, students) for value in (loss, expected))
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def test_features_may_turn_and_grow_as_long_as_similarities_stay():
    students = features(2, 6, 5)
    turn, _ = torch.linalg.qr(features(5, 5, seed=2))
    assert gram_loss(students, 3 * students @ turn).item() == pytest.approx(0, abs=1e-20)


def test_negative_similarities_count():
    """DINOv3's appendix offers to drop them; sslight keeps them."""
    students = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]])
    anchors = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    assert gram_loss(students, anchors).item() == pytest.approx(0.5)


def test_images_are_compared_each_by_itself():
    students, anchors = features(4, 3, 5), features(4, 3, 5, seed=1)
    each = [gram_loss(students[i : i + 1], anchors[i : i + 1]) for i in range(4)]
    torch.testing.assert_close(gram_loss(students, anchors), torch.stack(each).mean())
    mixed = gram_loss(students.flatten(0, 1)[None], anchors.flatten(0, 1)[None])
    assert abs(mixed - gram_loss(students, anchors)) > 1e-3


def test_anchors_get_no_gradient_and_low_precision_is_computed_in_float32():
    students, anchors = features(1, 3, 5), features(1, 3, 5, seed=1)
    loss = gram_loss(students, anchors)
    assert torch.autograd.grad(loss, anchors, allow_unused=True) == (None,)
    half = students.detach().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = gram_loss(half, anchors.detach().float())
    assert torch.equal(loss, gram_loss(half.float(), anchors.detach().float()))
