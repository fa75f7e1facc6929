"""KoLeo against loops written from its definition, and against lightly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sslight.losses.koleo import koleo


def rows(batch: int, dim: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, dim, generator=generator, dtype=torch.float64).requires_grad_()


def oracle(x: Tensor) -> Tensor:
    """Minus the mean logarithm of the smallest distance to another row of length 1."""
    unit = [row / row.norm() for row in x]
    terms = []
    for i, row in enumerate(unit):
        distances = [(row - other + 1e-8).norm() for j, other in enumerate(unit) if j != i]
        terms.append(-torch.log(torch.stack(distances).min() + 1e-8))
    return torch.stack(terms).mean()


@pytest.mark.parametrize("batch", [2, 3, 9])
@pytest.mark.parametrize("dim", [2, 6])
def test_value_and_gradient_equal_the_loops(batch, dim):
    x = rows(batch, dim)
    loss, expected = koleo(x), oracle(x)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-11)
    (mine,), (theirs,) = (torch.autograd.grad(value, x) for value in (loss, expected))
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-11)


def test_agrees_with_lightly():
    lightly = pytest.importorskip("lightly.loss")
    x = rows(16)
    loss, expected = koleo(x), lightly.KoLeoLoss()(x)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    (mine,), (theirs,) = (torch.autograd.grad(value, x) for value in (loss, expected))
    torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-9)


def test_equal_rows_are_finite_and_spread_rows_are_better():
    same = torch.ones(4, 8, requires_grad=True)
    loss = koleo(same)
    assert loss.isfinite()
    assert torch.autograd.grad(loss, same)[0].isfinite().all()
    assert koleo(torch.eye(8)) < 0 < loss


def test_length_does_not_matter_and_low_precision_is_computed_in_float32():
    x = rows(8)
    assert koleo(3 * x).item() == pytest.approx(koleo(x).item(), rel=1e-9)
    half = x.detach().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = koleo(half)
    assert torch.equal(loss, koleo(half.float()))
