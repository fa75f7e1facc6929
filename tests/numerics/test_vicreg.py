"""VICReg's loss against loops written from the paper, against lightly, and closed forms."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from sslight.losses.vicreg import covariance_penalty, variance_hinge, vicreg_loss

WEIGHTS = (25.0, 25.0, 1.0)


def random_views(count: int, batch: int, dim: int = 6) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(100 * count + batch)
    widths = torch.linspace(0.2, 2, dim, dtype=torch.float64)  # below and above the hinge
    shared = torch.randn(batch, dim, generator=generator, dtype=torch.float64)
    return [
        (shared + 0.5 * torch.randn(batch, dim, generator=generator, dtype=torch.float64) + k)
        .mul(widths)
        .requires_grad_()
        for k in range(count)
    ]


def covariance(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((p - mean_x) * (q - mean_y) for p, q in zip(x, y, strict=True)) / (len(x) - 1)


def oracle(views: list[torch.Tensor], weights: tuple[float, float, float]) -> torch.Tensor:
    """Equations 1 to 6, a feature at a time."""
    dim = views[0].shape[1]
    hinges, penalties = [], []
    for view in views:
        columns = list(view.T)
        deviations = [(covariance(x, x) + 1e-4).sqrt() for x in columns]
        hinges.append(sum(torch.clamp(1 - s, min=0) for s in deviations) / dim)
        off = [
            covariance(x, y) ** 2
            for i, x in enumerate(columns)
            for j, y in enumerate(columns)
            if i != j
        ]
        penalties.append(sum(off) / dim)
    squares = [((a - b) ** 2).sum(1).mean() / dim for a, b in combinations(views, 2)]
    invariance, variance = torch.stack(squares).mean(), torch.stack(hinges).mean()
    both = 2 * torch.stack(penalties).mean()
    return weights[0] * invariance + weights[1] * variance + weights[2] * both


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("batch", [2, 5, 9])
@pytest.mark.parametrize("weights", [WEIGHTS, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
def test_value_and_gradient_equal_the_loops(count, batch, weights):
    views = random_views(count, batch)
    loss, expected = vicreg_loss(views, *weights), oracle(views, weights)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    for mine, theirs in zip(
        torch.autograd.grad(loss, views), torch.autograd.grad(expected, views), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def test_summed_variance_terms_would_be_noticed():
    """Mutant: solo-learn sums the hinge over the views, so its variance term counts twice."""
    views = random_views(2, 8)
    assert vicreg_loss(views, 25, 50, 1).item() != pytest.approx(oracle(views, WEIGHTS).item())


@pytest.mark.parametrize("weights", [WEIGHTS, (1.0, 2.0, 3.0)])
def test_agrees_with_lightly(weights):
    lightly = pytest.importorskip("lightly.loss")
    a, b = random_views(2, 16)
    mine, theirs = vicreg_loss([a, b], *weights), lightly.VICRegLoss(*weights)(a, b)
    assert mine.item() == pytest.approx(theirs.item(), rel=1e-6)
    for x, y in zip(
        torch.autograd.grad(mine, [a, b]), torch.autograd.grad(theirs, [a, b]), strict=True
    ):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-9)


def orthogonal(deviation: float = 1.0) -> torch.Tensor:
    """Four features of mean 0, orthogonal over eight images, of this standard deviation."""
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    columns = torch.kron(torch.kron(signs, signs), signs)[:, 1:5]
    return columns * deviation * (7 / 8) ** 0.5  # the unbiased one


def test_identical_views_of_orthogonal_wide_features_lose_nothing():
    z = orthogonal(1.5)
    assert vicreg_loss([z, z]).item() == pytest.approx(0, abs=1e-12)


def test_each_term_alone():
    z = orthogonal(0.5)
    assert variance_hinge(z).item() == pytest.approx(1 - (0.25 + 1e-4) ** 0.5)
    assert covariance_penalty(z).item() == pytest.approx(0, abs=1e-12)
    assert vicreg_loss([z, z + 3], 1, 0, 0).item() == pytest.approx(9)
    copies = z[:, :1].expand(-1, 4)  # every covariance is the variance, 0.25
    assert covariance_penalty(copies).item() == pytest.approx(12 * 0.25**2 / 4)


def test_collapse_costs_almost_the_whole_hinge_and_stays_finite():
    z = torch.ones(8, 4, requires_grad=True)
    loss = vicreg_loss([z, z])
    assert loss.item() == pytest.approx(25 * (1 - 0.01))
    assert torch.autograd.grad(loss, z)[0].isfinite().all()


def test_bfloat16_is_computed_in_float32():
    views = [view.detach().bfloat16() for view in random_views(2, 32)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = vicreg_loss(views)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, vicreg_loss([view.float() for view in views]))
