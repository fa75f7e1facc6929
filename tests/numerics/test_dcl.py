"""DCL and DCLW against loops written from the paper, against lightly, and over ranks."""

from __future__ import annotations

import pytest
import torch
from ranks import run_ranks

from sslight import distributed as d
from sslight.losses.dcl import dcl, von_mises_fisher_weights


def oracle(
    views: list[torch.Tensor], temperature: float, sigma: float | None = None
) -> torch.Tensor:
    """L_DC and L_DCW for every ordered pair of crops of an image, one exponential at a time."""
    views = [[row / row.norm() for row in view] for view in views]
    crops, images = range(len(views)), range(len(views[0]))
    terms = []
    for v in crops:
        for u in crops:
            if u == v:
                continue
            cosines = [views[v][i] @ views[u][i] for i in images]
            for i in images:
                negatives = sum(
                    torch.exp(views[v][i] @ views[w][j] / temperature)
                    for w in crops
                    for j in images
                    if j != i
                )
                weight = 1.0 if sigma is None else von_mises_fisher(cosines, i, sigma)
                terms.append(-weight * cosines[i] / temperature + torch.log(negatives))
    return torch.stack(terms).mean()


def von_mises_fisher(cosines: list[torch.Tensor], i: int, sigma: float) -> torch.Tensor:
    """Of image i: 2 - exp(cos / sigma) / E[exp(cos / sigma)]."""
    mean = sum(torch.exp(cosine / sigma) for cosine in cosines) / len(cosines)
    return 2 - torch.exp(cosines[i] / sigma) / mean


def random_views(count: int, batch: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(count * 100 + batch)
    return [
        torch.randn(batch, 6, generator=generator, dtype=torch.float64).requires_grad_()
        for _ in range(count)
    ]


def assert_same(mine, theirs, views, rtol=1e-10, atol=1e-12):
    torch.testing.assert_close(mine, theirs, rtol=rtol, atol=atol)
    for x, y in zip(
        torch.autograd.grad(mine, views), torch.autograd.grad(theirs, views), strict=True
    ):
        torch.testing.assert_close(x, y, rtol=rtol, atol=atol)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("batch", [2, 5])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("sigma", [None, 0.2, 0.5])
def test_value_and_gradient_equal_the_loops(count, batch, temperature, sigma):
    views = random_views(count, batch)
    assert_same(dcl(views, temperature, sigma=sigma), oracle(views, temperature, sigma), views)


def test_the_positive_is_not_in_the_denominator():
    """Where positives and negatives are equally far, NT-Xent would give log(2N - 1)."""
    a = torch.ones(6, 3)
    assert dcl([a, a], 0.1).item() == pytest.approx(torch.tensor(10.0).log().item(), rel=1e-5)


def test_weights_average_to_one_and_favour_the_far_pairs():
    cosines = torch.tensor([0.9, 0.1, 0.5]).view(1, 3, 1)
    weights = von_mises_fisher_weights(cosines, 0.5).flatten()
    assert weights.mean().item() == pytest.approx(1)
    assert weights.argsort().tolist() == [0, 2, 1]
    far = von_mises_fisher_weights(cosines, 1e6)
    torch.testing.assert_close(far, torch.ones(1, 3, 1), rtol=1e-5, atol=0)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_dcl_agrees_with_lightly(temperature):
    lightly = pytest.importorskip("lightly.loss")
    views = random_views(2, 16)
    theirs = lightly.DCLLoss(temperature=temperature)(*views)
    assert_same(dcl(views, temperature), theirs, views, rtol=1e-6, atol=1e-8)


@pytest.mark.filterwarnings("ignore:To copy construct from a tensor")
def test_dclw_agrees_with_lightly_in_value_but_not_in_gradient():
    """lightly detaches the weight; the paper's equation, differentiated as written, does not."""
    lightly = pytest.importorskip("lightly.loss")
    views = random_views(2, 16)
    theirs, mine = lightly.DCLWLoss(temperature=0.1, sigma=0.5)(*views), dcl(views, 0.1, sigma=0.5)
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=0)
    (x,), (y,) = (torch.autograd.grad(loss, views[:1]) for loss in (mine, theirs))
    assert 0.01 < ((x - y).norm() / y.norm()).item() < 0.5


def test_float32_at_a_small_temperature():
    views = random_views(2, 32)
    single = [view.detach().float().requires_grad_() for view in views]
    loss, expected = dcl(single, 0.01, sigma=0.5), dcl(views, 0.01, sigma=0.5)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(loss, single))


# ------------------------------------------------------------------ ranks

LOSSES = {
    "dcl": lambda z: dcl(z, 0.1, gather=True),
    "dclw": lambda z: dcl(z, 0.1, sigma=0.5, gather=True),
    "mutant": lambda z: dcl(z, 0.1, sigma=0.5),
}


def results(rows: slice) -> dict[str, list[torch.Tensor]]:
    """Loss and gradient of the weights, as averaged over ranks."""
    seen = {}
    for name, loss_of in LOSSES.items():
        weight = torch.eye(6, dtype=torch.float64).requires_grad_()
        loss = loss_of([view.detach()[rows] @ weight for view in random_views(2, 8)])
        (grad,) = torch.autograd.grad(loss, weight)
        seen[name] = [d.mean_over_ranks(loss.detach()), d.mean_over_ranks(grad)]
    return seen


def on_rank():
    rows = 8 // d.world_size()
    return results(slice(d.rank() * rows, (d.rank() + 1) * rows))


@pytest.mark.ranks
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_equal_one_process(ranks):
    whole = results(slice(None))
    for result in run_ranks(ranks, on_rank):
        for name in ("dcl", "dclw"):
            for mine, expected in zip(result[name], whole[name], strict=True):
                torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-12, msg=name)
        assert not torch.allclose(result["mutant"][1], whole["mutant"][1], rtol=1e-3)
