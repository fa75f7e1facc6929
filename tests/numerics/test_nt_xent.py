"""NT-Xent against loops written from the paper, against lightly, and at its limits."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from sslight.losses.nt_xent import nt_xent, nt_xent_multiview


def oracle(views: list[torch.Tensor], temperature: float) -> torch.Tensor:
    """Every ordered pair of crops of an image, one exponential at a time."""
    views = [[row / row.norm() for row in view] for view in views]
    crops, images = range(len(views)), range(len(views[0]))
    terms = []
    for v in crops:
        for i in images:
            others = sum(
                torch.exp(views[v][i] @ views[u][j] / temperature)
                for u in crops
                for j in images
                if j != i
            )
            for u in crops:
                if u != v:
                    positive = torch.exp(views[v][i] @ views[u][i] / temperature)
                    terms.append(-torch.log(positive / (positive + others)))
    return torch.stack(terms).mean()


def random_views(count: int, batch: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(count * 100 + batch)
    return [
        torch.randn(batch, 6, generator=generator, dtype=dtype).requires_grad_()
        for _ in range(count)
    ]


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("batch", [2, 5])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_value_and_gradient_equal_the_loops(count, batch, temperature):
    views = random_views(count, batch)
    loss, expected = nt_xent_multiview(views, temperature), oracle(views, temperature)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    for mine, theirs in zip(
        torch.autograd.grad(loss, views), torch.autograd.grad(expected, views), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_two_views_are_the_papers_equation():
    a, b = random_views(2, 7)
    assert nt_xent(a, b, 0.3).item() == pytest.approx(oracle([a, b], 0.3).item(), rel=1e-12)
    assert nt_xent(a, b, 0.3).item() == pytest.approx(nt_xent(b, a, 0.3).item(), rel=1e-12)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_agrees_with_lightly(temperature):
    lightly = pytest.importorskip("lightly.loss")
    a, b = random_views(2, 16)
    theirs = lightly.NTXentLoss(temperature=temperature)(a, b)
    mine = nt_xent(a, b, temperature)
    assert mine.item() == pytest.approx(theirs.item(), rel=1e-6)
    for x, y in zip(
        torch.autograd.grad(mine, [a, b]), torch.autograd.grad(theirs, [a, b]), strict=True
    ):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-8)


def test_float32_at_a_small_temperature():
    views = random_views(2, 32)
    single = [view.detach().float().requires_grad_() for view in views]
    loss, expected = nt_xent(*single, 0.01), nt_xent(*views, 0.01)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for mine, theirs in zip(
        torch.autograd.grad(loss, single), torch.autograd.grad(expected, views), strict=True
    ):
        assert mine.isfinite().all()
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-3, atol=1e-4)


def test_perfectly_aligned_at_a_small_temperature_is_nearly_zero():
    a = torch.eye(8)
    assert 0 <= nt_xent(a, a, 0.01).item() < 1e-6
    mixed_up = nt_xent(a, a.roll(1, 0), 0.01)  # each positive at cosine 0, a negative at 1
    assert mixed_up.item() == pytest.approx(100, rel=0.02)


def test_collapsed_embeddings_give_the_log_of_the_number_of_candidates():
    a = torch.ones(6, 3)
    assert nt_xent(a, a, 0.1).item() == pytest.approx(math.log(2 * 6 - 1), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_computed_in_float32(dtype):
    a, b = (view.detach().to(dtype) for view in random_views(2, 32))
    expected = nt_xent(a.float(), b.float(), 0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nt_xent(a, b, 0.05)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, expected)


def test_scale_of_the_embeddings_does_not_matter():
    a, b = random_views(2, 4)
    assert nt_xent(5 * a, 0.1 * b).item() == pytest.approx(nt_xent(a, b).item(), rel=1e-10)
    assert not math.isclose(
        nt_xent(a, b).item(), F.cross_entropy(a @ b.T / 0.1, torch.arange(4)).item(), rel_tol=0.01
    )
