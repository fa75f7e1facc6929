"""Barlow Twins' loss against loops written from the paper, against lightly, and closed forms."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from sslight.losses.barlow_twins import barlow_twins_loss, standardise


def random_views(count: int, batch: int, dim: int = 6) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(100 * count + batch)
    shared = torch.randn(batch, dim, generator=generator, dtype=torch.float64)
    return [
        (shared + torch.randn(batch, dim, generator=generator, dtype=torch.float64) + k)
        .mul(1 + k)  # each view has its own mean and variance
        .requires_grad_()
        for k in range(count)
    ]


def standardised(column: torch.Tensor) -> torch.Tensor:
    mean = sum(column) / len(column)
    variance = sum((x - mean) ** 2 for x in column) / len(column)
    return torch.stack([(x - mean) / (variance + 1e-5) ** 0.5 for x in column])


def oracle(views: list[torch.Tensor], weight: float) -> torch.Tensor:
    """Equations 1 and 2, an entry of C at a time."""
    views = [[standardised(column) for column in view.T] for view in views]
    pairs = []
    for a, b in combinations(views, 2):
        total = torch.zeros((), dtype=torch.float64)
        for i, x in enumerate(a):
            for j, y in enumerate(b):
                c = sum(p * q for p, q in zip(x, y, strict=True)) / len(x)
                total = total + ((1 - c) ** 2 if i == j else weight * c**2)
        pairs.append(total)
    return torch.stack(pairs).mean()


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("batch", [2, 5, 8])
@pytest.mark.parametrize("weight", [0.0, 0.005, 1.0])
def test_value_and_gradient_equal_the_loops(count, batch, weight):
    views = random_views(count, batch)
    loss, expected = barlow_twins_loss(views, weight), oracle(views, weight)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    for mine, theirs in zip(
        torch.autograd.grad(loss, views), torch.autograd.grad(expected, views), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def test_statistics_over_both_views_would_be_noticed():
    """Mutant: VISSL standardises the concatenation of the views."""
    a, b = random_views(2, 8)
    first, second = standardise(torch.cat([a, b])).chunk(2)
    joint = first.T @ second / 8
    squares = (joint - torch.eye(6)).square()
    wrong = squares.diagonal().sum() * 0.995 + 0.005 * squares.sum()
    assert wrong.item() != pytest.approx(barlow_twins_loss([a, b]).item(), rel=0.05)


@pytest.mark.parametrize("weight", [0.005, 0.1])
def test_agrees_with_lightly(weight):
    lightly = pytest.importorskip("lightly.loss")
    a, b = random_views(2, 16)
    mine = barlow_twins_loss([a, b], weight)
    theirs = lightly.BarlowTwinsLoss(lambda_param=weight)(a, b)
    assert mine.item() == pytest.approx(theirs.item(), rel=1e-6)
    for x, y in zip(
        torch.autograd.grad(mine, [a, b]), torch.autograd.grad(theirs, [a, b]), strict=True
    ):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-9)


def test_standardise_is_a_batch_norm_without_affine():
    (view,) = random_views(1, 9)
    norm = torch.nn.BatchNorm1d(6, affine=False).double()
    torch.testing.assert_close(standardise(view), norm(view))


def orthogonal() -> torch.Tensor:
    """Four features of mean 0 and variance 1, orthogonal over eight images (Walsh functions)."""
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    return torch.kron(torch.kron(signs, signs), signs)[:, 1:5]


def test_identical_views_of_orthogonal_features_lose_nothing():
    z = orthogonal()
    assert barlow_twins_loss([z, 3 * z + 1], 1.0).item() == pytest.approx(0, abs=1e-8)


def test_one_feature_many_times_costs_its_copies():
    z = orthogonal()[:, :1].expand(-1, 4)
    assert barlow_twins_loss([z, z], 0.5).item() == pytest.approx(0.5 * 12, rel=1e-4)


def test_unrelated_and_opposite_views():
    z = orthogonal()
    assert barlow_twins_loss([z, z.roll(1, 1)], 0.5).item() == pytest.approx(4 + 0.5 * 4, rel=1e-4)
    assert barlow_twins_loss([z, -z], 0.5).item() == pytest.approx(4 * 2**2, rel=1e-4)


def test_collapsed_features_cost_the_whole_diagonal_and_stay_finite():
    z = torch.ones(8, 4, requires_grad=True)
    loss = barlow_twins_loss([z, z], 0.5)
    assert loss.item() == pytest.approx(4)
    assert torch.autograd.grad(loss, z)[0].isfinite().all()


def test_a_large_mean_is_harmless_in_float32():
    a, b = (view.detach() for view in random_views(2, 64))
    loss = barlow_twins_loss([a.float() + 1000, b.float() + 1000])
    assert loss.item() == pytest.approx(barlow_twins_loss([a, b]).item(), rel=1e-3)


def test_bfloat16_is_computed_in_float32():
    views = [view.detach().bfloat16() for view in random_views(2, 32)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = barlow_twins_loss(views)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, barlow_twins_loss([view.float() for view in views]))
