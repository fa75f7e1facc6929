"""SimSiam's loss against loops written from the paper, against lightly, and at its limits."""

from __future__ import annotations

import pytest
import torch

from sslight.losses.simsiam import simsiam_loss


def rows(count: int, batch: int = 5, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(100 * seed + count)
    return [
        torch.randn(batch, 7, generator=generator, dtype=torch.float64).requires_grad_()
        for _ in range(count)
    ]


def distance(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Equation 1, a row at a time; the target is a constant."""
    target = target.detach()
    return torch.stack(
        [-(p / p.norm()) @ (z / z.norm()) for p, z in zip(prediction, target, strict=True)]
    ).mean()


def assert_same(loss: torch.Tensor, expected: torch.Tensor, inputs: list[torch.Tensor]) -> None:
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    mine, theirs = (torch.autograd.grad(value, inputs) for value in (loss, expected))
    for x, y in zip(mine, theirs, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("batch", [1, 5])
def test_value_and_gradient_are_equation_2(batch):
    p, z = rows(2, batch), rows(2, batch, seed=1)
    assert_same(simsiam_loss(p, z), distance(p[0], z[1]) / 2 + distance(p[1], z[0]) / 2, p)


@pytest.mark.parametrize(("views", "global_views"), [(3, 3), (5, 2), (3, 1)])
def test_many_views_are_the_mean_over_pairs(views, global_views):
    p, z = rows(views), rows(views, seed=1)[:global_views]
    pairs = [distance(p[v], z[t]) for v in range(views) for t in range(global_views) if v != t]
    used = p if global_views > 1 else p[1:]  # the only target's own view predicts nothing
    assert_same(simsiam_loss(p, z), torch.stack(pairs).mean(), used)


def test_average_targets_are_the_means_of_the_other_views():
    p, z = rows(3), rows(3, seed=1)
    means = [(z[1] + z[2]) / 2, (z[0] + z[2]) / 2, (z[0] + z[1]) / 2]
    expected = torch.stack([distance(p[v], means[v]) for v in range(3)]).mean()
    assert_same(simsiam_loss(p, z, average_targets=True), expected, p)
    assert simsiam_loss(p, z).item() != pytest.approx(expected.item(), rel=1e-3)
    assert_same(simsiam_loss(p[:2], z[:2], average_targets=True), simsiam_loss(p[:2], z[:2]), p[:2])


def test_targets_get_no_gradient():
    p, z = rows(2), rows(2, seed=1)
    assert torch.autograd.grad(simsiam_loss(p, z), z, allow_unused=True) == (None, None)


def test_agrees_with_lightly():
    lightly = pytest.importorskip("lightly.loss")
    cosine = lightly.NegativeCosineSimilarity()
    p, z = rows(2, 16), rows(2, 16, seed=1)
    assert_same(
        simsiam_loss(p, z), (cosine(p[0], z[1].detach()) + cosine(p[1], z[0].detach())) / 2, p
    )


def test_bounds():
    """Identical views give -1, orthogonal features 0; collapse is a minimum, not an alarm."""
    a = torch.eye(4)
    assert simsiam_loss([a, a], [2 * a, a]).item() == pytest.approx(-1)
    assert simsiam_loss([a, a], [-a, -a]).item() == pytest.approx(1)
    assert simsiam_loss([a, a], [a.roll(1, 0), a.roll(2, 0)]).item() == pytest.approx(0)
    collapsed = torch.ones(4, 3)
    assert simsiam_loss([collapsed] * 2, [collapsed] * 2).item() == pytest.approx(-1)


def test_bfloat16_is_computed_in_float32():
    p, z = ([row.detach().bfloat16() for row in rows(2, 64, seed)] for seed in (0, 1))
    loss = simsiam_loss(p, z)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, simsiam_loss([x.float() for x in p], [x.float() for x in z]))
