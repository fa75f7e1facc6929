"""BYOL's loss against loops written from the paper, its multi-crop form, and its relatives."""

from __future__ import annotations

import pytest
import torch

from sslight.losses.byol import byol_loss, regression


def rows(count: int, batch: int = 5) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    return [
        torch.randn(batch, 7, generator=generator, dtype=torch.float64).requires_grad_()
        for _ in range(count)
    ]


def squared_distance(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Equation 2: || q / |q| - z / |z| || ** 2, a row at a time."""
    target = target.detach()
    return torch.stack(
        [
            (q / q.norm() - z / z.norm()).square().sum()
            for q, z in zip(prediction, target, strict=True)
        ]
    ).mean()


def test_value_and_gradient_are_equation_2_both_ways():
    predictions, targets = rows(2), [t * 3 for t in reversed(rows(2))]
    loss = byol_loss(predictions, targets)
    expected = squared_distance(predictions[0], targets[1]) + squared_distance(
        predictions[1], targets[0]
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    mine = torch.autograd.grad(loss, predictions)
    theirs = torch.autograd.grad(expected, predictions)
    for x, y in zip(mine, theirs, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-12)


def test_targets_get_no_gradient():
    predictions, targets = rows(2), rows(2)
    grads = torch.autograd.grad(byol_loss(predictions, targets), targets, allow_unused=True)
    assert grads == (None, None)


def test_it_is_four_plus_four_times_simsiam():
    lightly = pytest.importorskip("lightly.loss")
    p, z = rows(2), [t * 0.5 + 1 for t in rows(2)]
    cosine = lightly.NegativeCosineSimilarity()
    simsiam = (cosine(p[0], z[1].detach()) + cosine(p[1], z[0].detach())) / 2
    assert byol_loss(p, z).item() == pytest.approx(4 + 4 * simsiam.item(), rel=1e-9)


def test_bounds():
    a = torch.eye(4)
    assert regression(a, 2 * a).item() == pytest.approx(0, abs=1e-6)
    assert regression(a, -a).item() == pytest.approx(4)
    assert regression(a, a.roll(1, 0)).item() == pytest.approx(2)


def test_multi_crop_pairs_every_global_target_with_every_other_crop():
    predictions, targets = rows(5), [t + 1 for t in rows(5)[:2]]
    pairs = [
        squared_distance(predictions[p], targets[t]) for t in range(2) for p in range(5) if t != p
    ]
    assert len(pairs) == 8
    expected = 2 * torch.stack(pairs).mean()
    assert byol_loss(predictions, targets).item() == pytest.approx(expected.item(), rel=1e-12)


def test_bfloat16_is_computed_in_float32():
    a, b = (row.detach().bfloat16() for row in rows(2, 64))
    loss = regression(a, b)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, regression(a.float(), b.float()))
