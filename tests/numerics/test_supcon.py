"""SupCon against loops written from the paper, against NT-Xent, and over ranks.

No installed peer has this loss: lightly has none, and solo-learn's sums over positives inside the
logarithm, which is another loss.
"""

from __future__ import annotations

import pytest
import torch
from ranks import run_ranks

from sslight import distributed as d
from sslight.losses.nt_xent import nt_xent
from sslight.losses.supcon import supcon

LABELS = {
    "mixed": [0, 1, 0, 2, 1],
    "one class": [3] * 5,
    "all different": [4, 3, 2, 1, 0],
    "some unknown": [0, -1, 0, -1, 1],
    "all unknown": [-1] * 5,
}


def oracle(views, label, temperature, base_temperature, inside=False) -> torch.Tensor:
    """Equation 2 (``inside``: equation 3, the sum over positives inside the logarithm)."""
    anchors = [(v, i) for v in range(len(views)) for i in range(len(label))]
    unit = {(v, i): views[v][i] / views[v][i].norm() for v, i in anchors}
    terms = []
    for anchor in anchors:
        others = [other for other in anchors if other != anchor]
        score = {o: torch.exp(unit[anchor] @ unit[o] / temperature) for o in others}
        everyone = sum(score.values())
        own = label[anchor[1]]
        positives = [o for o in others if o[1] == anchor[1] or (own >= 0 and label[o[1]] == own)]
        if inside:
            mean = sum(score[o] / everyone for o in positives) / len(positives)
            terms.append(-torch.log(mean))
        else:
            logs = [torch.log(score[o] / everyone) for o in positives]
            terms.append(-sum(logs) / len(positives))
    return torch.stack(terms).mean() * temperature / base_temperature


def random_views(count: int, batch: int = 5) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(count * 100 + batch)
    return [
        torch.randn(batch, 6, generator=generator, dtype=torch.float64).requires_grad_()
        for _ in range(count)
    ]


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize(("temperature", "base"), [(0.1, 0.07), (0.5, 0.5)])
def test_value_and_gradient_equal_the_loops(count, kind, temperature, base):
    views, label = random_views(count), LABELS[kind]
    mine = supcon(views, torch.tensor(label), temperature, base)
    theirs = oracle(views, label, temperature, base)
    torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-12)
    for x, y in zip(
        torch.autograd.grad(mine, views), torch.autograd.grad(theirs, views), strict=True
    ):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-12)


def test_the_loss_with_the_sum_inside_the_logarithm_would_be_noticed():
    views, label = random_views(2), LABELS["mixed"]
    outside, inside = (oracle(views, label, 0.1, 0.1, inside) for inside in (False, True))
    assert abs(outside - inside) / outside > 0.05


def test_without_labels_it_is_simclrs():
    views = random_views(2, 7)
    mine = supcon(views, torch.full((7,), -1), 0.2, 0.2)
    torch.testing.assert_close(mine, nt_xent(*views, 0.2), rtol=1e-12, atol=0)


def test_float32_at_a_small_temperature():
    views, label = random_views(2, 32), torch.arange(32) % 5
    single = [view.detach().float().requires_grad_() for view in views]
    loss, expected = supcon(single, label, 0.01), supcon(views, label, 0.01)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(loss, single))


# ------------------------------------------------------------------ ranks

RANK_LABELS = torch.tensor([0, 1, -1, 0, 2, -1, 1, 0])  # classes meet across ranks
LOSSES = {
    "supcon": lambda z, label: supcon(z, label, gather=True),
    "mutant": lambda z, label: supcon(z, label),
}


def results(rows: slice) -> dict[str, list[torch.Tensor]]:
    seen = {}
    for name, loss_of in LOSSES.items():
        weight = torch.eye(6, dtype=torch.float64).requires_grad_()
        z = [view.detach()[rows] @ weight for view in random_views(2, 8)]
        loss = loss_of(z, RANK_LABELS[rows])
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
        for mine, expected in zip(result["supcon"], whole["supcon"], strict=True):
            torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-12)
        assert not torch.allclose(result["mutant"][1], whole["mutant"][1], rtol=1e-3)
