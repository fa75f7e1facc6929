"""NNCLR against loops, against lightly's search, over ranks, and its queue over training steps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from ranks import run_ranks
from torch import nn

from sslight import distributed as d
from sslight.losses.nnclr import nearest_neighbours, nnclr_loss
from sslight.methods.nnclr import NNCLR


def unit(row: torch.Tensor) -> torch.Tensor:
    return row / row.norm()


def nearest(row: torch.Tensor, bank: list[torch.Tensor]) -> torch.Tensor:
    """The row of the bank at the smallest distance of normalised vectors (eq. 2's NN)."""
    distances = [(unit(row) - other).norm().item() for other in bank]
    return bank[distances.index(min(distances))].detach()


def one_way(neighbours, predictions, temperature) -> torch.Tensor:
    """-log exp(n_i . p_i / T) / sum over k of exp(n_i . p_k / T), one exponential at a time."""
    predictions = [unit(row) for row in predictions]
    terms = []
    for i, neighbour in enumerate(neighbours):
        scores = [torch.exp(unit(neighbour) @ p / temperature) for p in predictions]
        terms.append(-torch.log(scores[i] / sum(scores)))
    return torch.stack(terms).mean()


def oracle(z, p, bank, temperature) -> torch.Tensor:
    n1, n2 = ([nearest(row, bank) for row in view] for view in z)
    return (one_way(n1, p[1], temperature) + one_way(n2, p[0], temperature)) / 2


def rows(count: int, batch: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(count * 100 + batch)
    return [
        torch.randn(batch, 6, generator=generator, dtype=torch.float64).requires_grad_()
        for _ in range(count)
    ]


def bank_of(size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(size)
    return F.normalize(torch.randn(size, 6, generator=generator, dtype=torch.float64), dim=1)


def loss_of(z, p, bank, temperature, gather=False):
    neighbours = nearest_neighbours(z[0], bank), nearest_neighbours(z[1], bank)
    return nnclr_loss(neighbours, (p[0], p[1]), temperature, gather=gather)


@pytest.mark.parametrize("batch", [2, 6])
@pytest.mark.parametrize("size", [3, 40])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_value_and_gradient_equal_the_loops(batch, size, temperature):
    z1, z2, p1, p2 = rows(4, batch)
    bank = bank_of(size)
    mine = loss_of((z1, z2), (p1, p2), bank, temperature)
    theirs = oracle((z1, z2), (p1, p2), list(bank), temperature)
    torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-12)
    for x, y in zip(
        torch.autograd.grad(mine, (p1, p2), retain_graph=True),
        torch.autograd.grad(theirs, (p1, p2)),
        strict=True,
    ):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-12)
    assert torch.autograd.grad(mine, (z1, z2), allow_unused=True) == (None, None)


def test_neighbours_are_lightlys():
    modules = pytest.importorskip("lightly.models.modules")
    (z,) = rows(1, 16)
    bank = bank_of(64)
    theirs = modules.NNMemoryBankModule(size=(64, 6))
    theirs.bank = bank.clone()
    torch.testing.assert_close(nearest_neighbours(z, bank), theirs(z.detach()))


def test_lightlys_example_has_more_negatives():
    """It feeds NT-Xent, whose candidates are the neighbours too; the paper's are predictions."""
    lightly = pytest.importorskip("lightly.loss")
    z1, z2, p1, p2 = rows(4, 16)
    bank = bank_of(64)
    nt_xent = lightly.NTXentLoss(temperature=0.1)
    n1, n2 = nearest_neighbours(z1, bank), nearest_neighbours(z2, bank)
    theirs = (nt_xent(n1, p2) + nt_xent(n2, p1)) / 2
    assert theirs > 1.05 * loss_of((z1, z2), (p1, p2), bank, 0.1)


# ------------------------------------------------------------------ the queue over some steps


def test_three_steps_search_before_they_enqueue():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.Tanh())
    net.embed_dim = 6
    method = NNCLR(net, hidden_dim=8, out_dim=4, predictor_dim=8, queue_size=7).double()
    bank, cursor = list(method.queue.rows.clone()), 0
    early = 0
    for pair in torch.randn(3, 2, 3, 3, 2, 2, dtype=torch.float64):
        z = method.projector(method.backbone(torch.cat(list(pair))))
        p = method.predictor(z).chunk(2)
        z = z.chunk(2)
        loss = method.training_loss({"views": list(pair)}).loss
        torch.testing.assert_close(loss, oracle(z, p, bank, 0.1), rtol=1e-10, atol=1e-12)
        for row in z[0]:
            bank[cursor % 7] = unit(row).detach()
            cursor += 1
        early += abs(oracle(z, p, bank, 0.1) - loss).item() > 0.01  # mutant: enqueue first
        torch.testing.assert_close(method.queue.rows, torch.stack(bank), rtol=1e-10, atol=1e-12)
    assert early == 3


# ------------------------------------------------------------------ ranks


def results(part: slice) -> dict[str, list[torch.Tensor]]:
    seen = {}
    for gather in (True, False):
        weight = torch.eye(6, dtype=torch.float64).requires_grad_()
        z1, z2, p1, p2 = (x.detach()[part] for x in rows(4, 8))
        loss = loss_of((z1, z2), (p1 @ weight, p2 @ weight), bank_of(40), 0.1, gather)
        (grad,) = torch.autograd.grad(loss, weight)
        seen[gather] = [d.mean_over_ranks(loss.detach()), d.mean_over_ranks(grad)]
    return seen


def on_rank():
    share = 8 // d.world_size()
    return results(slice(d.rank() * share, (d.rank() + 1) * share))


@pytest.mark.ranks
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_equal_one_process(ranks):
    whole = results(slice(None))
    for result in run_ranks(ranks, on_rank):
        for mine, expected in zip(result[True], whole[True], strict=True):
            torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-12)
        assert not torch.allclose(result[False][1], whole[False][1], rtol=1e-3)
