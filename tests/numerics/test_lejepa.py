"""LeJEPA's loss against loops written from the paper, against lightly, and closed forms."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from sslight.losses.lejepa import lejepa_loss, sigreg


def random_views(count: int, batch: int, dim: int = 5) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(100 * count + batch)
    return [
        torch.randn(batch, dim, generator=generator, dtype=torch.float64)
        .add(0.2 * k)
        .requires_grad_()
        for k in range(count)
    ]


def unit_vectors(dim: int, count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(dim, count, generator=generator, dtype=torch.float64), dim=0)


def epps_pulley(x: list[torch.Tensor], knots: int, t_max: float) -> torch.Tensor:
    """Algorithm 1 in one direction, a knot at a time, over all of [-t_max, t_max]."""
    points = [t_max * k / (knots - 1) for k in range(-knots + 1, knots)]
    values = []
    for t in points:
        phi = math.exp(-(t**2) / 2)
        real = sum(torch.cos(t * value) for value in x) / len(x)
        imaginary = sum(torch.sin(t * value) for value in x) / len(x)
        values.append(((real - phi) ** 2 + imaginary**2) * phi)
    step = t_max / (knots - 1)
    return len(x) * sum(step * (a + b) / 2 for a, b in pairwise(values))


def sigreg_oracle(
    views: list[torch.Tensor], directions: torch.Tensor, knots: int = 17, t_max: float = 3.0
) -> torch.Tensor:
    statistics = [
        epps_pulley([row @ direction for row in view], knots, t_max)
        for view in views
        for direction in directions.T
    ]
    return torch.stack(statistics).mean()


def oracle(
    views: list[torch.Tensor], n_global: int, directions: torch.Tensor, weight: float
) -> torch.Tensor:
    """Algorithm 2."""
    terms = []
    for n in range(len(views[0])):
        centre = sum(view[n] for view in views[:n_global]) / n_global
        terms += [((view[n] - centre) ** 2).mean() for view in views]
    invariance = torch.stack(terms).mean()
    return (1 - weight) * invariance + weight * sigreg_oracle(views, directions)


def assert_same(loss: torch.Tensor, expected: torch.Tensor, inputs: list[torch.Tensor]) -> None:
    assert loss.item() == pytest.approx(expected.item(), rel=1e-11)
    mine, theirs = (torch.autograd.grad(value, inputs) for value in (loss, expected))
    for x, y in zip(mine, theirs, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize(("count", "n_global"), [(1, 1), (2, 2), (4, 2)])
@pytest.mark.parametrize("batch", [1, 6])
@pytest.mark.parametrize("weight", [0.0, 0.05, 1.0])
def test_value_and_gradient_equal_the_loops(count, n_global, batch, weight):
    views, directions = random_views(count, batch), unit_vectors(5, 3)
    loss = lejepa_loss(views, views[:n_global], directions, weight)
    assert_same(loss, oracle(views, n_global, directions, weight), views)


@pytest.mark.parametrize(("knots", "t_max"), [(2, 1.0), (9, 3.0), (17, 5.0)])
def test_any_quadrature(knots, t_max):
    views, directions = random_views(2, 4), unit_vectors(5, 2)
    value = sigreg(torch.stack(views), directions, knots=knots, t_max=t_max)
    assert_same(value, sigreg_oracle(views, directions, knots, t_max), views)


def test_the_center_matters():
    """The minimal code centres on all views: another loss, where there are local ones."""
    views, directions = random_views(4, 6), unit_vectors(5, 3)
    to_all = lejepa_loss(views, views, directions)
    to_global = lejepa_loss(views, views[:2], directions)
    assert to_all.item() < 0.95 * to_global.item()


@pytest.mark.parametrize("weight", [0.05, 0.5])
def test_agrees_with_lightly(weight, monkeypatch):
    """Given the same directions: lightly draws them from the global generator of the device."""
    lejepa = pytest.importorskip("lightly.loss.lejepa_loss")
    directions = unit_vectors(5, 32)
    peer = lejepa.LeJEPALoss(lambda_param=weight)
    monkeypatch.setattr(peer.sigreg, "_generate_unit_vectors", lambda *args: directions)
    views = random_views(5, 16)
    theirs = peer(global_proj=torch.stack(views[:2]), local_proj=torch.stack(views[2:]))
    mine = lejepa_loss(views, views[:2], directions, weight)
    assert mine.item() == pytest.approx(theirs.item(), rel=1e-6)
    for x, y in zip(
        torch.autograd.grad(mine, views), torch.autograd.grad(theirs, views), strict=True
    ):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-7)


def test_collapse_is_the_integral_in_closed_form():
    """At the origin exp(itx) is 1: N times the integral of (1 - phi)^2 phi over [-3, 3]."""
    x = torch.zeros(1, 8, 4, dtype=torch.float64)
    integral = (
        math.sqrt(2 * math.pi) * math.erf(3 / math.sqrt(2))
        - 2 * math.sqrt(math.pi) * math.erf(3)
        + math.sqrt(2 * math.pi / 3) * math.erf(3 * math.sqrt(1.5))
    )
    directions = unit_vectors(4, 3)
    assert sigreg(x, directions).item() == pytest.approx(8 * integral, rel=1e-2)
    assert sigreg(x, directions, knots=2000).item() == pytest.approx(8 * integral, rel=1e-6)


def test_a_gaussian_has_the_expectation_of_the_null_hypothesis():
    """E N |ecf - phi|^2 = 1 - phi^2, whatever N is."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 64, 16, generator=generator, dtype=torch.float64)
    t = torch.linspace(-3, 3, 33, dtype=torch.float64)
    phi = torch.exp(-t.square() / 2)
    expected = torch.trapezoid((1 - phi.square()) * phi, t)
    directions = unit_vectors(16, 64)
    assert sigreg(x, directions).item() == pytest.approx(expected.item(), rel=0.03)
    assert sigreg(0.5 * x, directions) > 3 * expected
    assert sigreg(x + 1, directions) > 3 * expected


def test_identical_views_have_no_invariance_term():
    (view,) = random_views(1, 6)
    directions = unit_vectors(5, 4)
    assert lejepa_loss([view] * 3, [view], directions, 0.0).item() == 0
    whole = lejepa_loss([view] * 3, [view], directions, 0.05)
    assert whole.item() == pytest.approx(0.05 * sigreg(view[None], directions).item())


def test_orthogonal_features_of_one_length_are_tested_as_two_points():
    """Along an axis, plus and minus one are a coin: its characteristic function is the cosine."""
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    x = torch.kron(signs, signs)[None, :, 1:]  # three orthogonal features, each half 1, half -1
    t = torch.linspace(-3, 3, 33, dtype=torch.float64)
    phi = torch.exp(-t.square() / 2)
    expected = 4 * torch.trapezoid((t.cos() - phi).square() * phi, t)
    axes = torch.eye(3, dtype=torch.float64)
    assert sigreg(x, axes).item() == pytest.approx(expected.item(), rel=1e-10)


def test_bfloat16_is_computed_in_float32():
    views = [view.detach().bfloat16() for view in random_views(2, 32)]
    directions = unit_vectors(5, 8).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = lejepa_loss(views, views, directions)
    assert loss.dtype == torch.float32
    single = [view.float() for view in views]
    assert torch.equal(loss, lejepa_loss(single, single, directions))
