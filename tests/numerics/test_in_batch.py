"""InfoNCE in the batch and MoCo v3's loss against loops, over ranks and over training steps."""

from __future__ import annotations

import pytest
import torch
from ranks import run_ranks
from torch import nn

from sslight import distributed as d
from sslight.losses.in_batch import in_batch_info_nce, moco_v3_loss
from sslight.methods.moco_v3 import MoCoV3
from sslight.schedules import Clock


def oracle(queries: torch.Tensor, keys: torch.Tensor, temperature: float) -> torch.Tensor:
    """The cross-entropy, one exponential at a time."""
    queries = [row / row.norm() for row in queries]
    keys = [row / row.norm() for row in keys]
    terms = []
    for i, query in enumerate(queries):
        candidates = sum(torch.exp(query @ key / temperature) for key in keys)
        terms.append(-torch.log(torch.exp(query @ keys[i] / temperature) / candidates))
    return torch.stack(terms).mean()


def rows(count: int, batch: int = 5) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(count * 100 + batch)
    return [
        torch.randn(batch, 6, generator=generator, dtype=torch.float64).requires_grad_()
        for _ in range(count)
    ]


def assert_same(mine, theirs, inputs):
    torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-12)
    for x, y in zip(
        torch.autograd.grad(mine, inputs), torch.autograd.grad(theirs, inputs), strict=True
    ):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("batch", [2, 7])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_value_and_both_gradients_equal_the_loops(batch, temperature):
    q, k = rows(2, batch)
    assert_same(in_batch_info_nce(q, k, temperature), oracle(q, k, temperature), (q, k))


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_moco_v3_is_the_sum_of_both_directions_times_two_t(temperature):
    q1, q2, k1, k2 = rows(4)
    mine = moco_v3_loss((q1, q2), (k1, k2), temperature)
    forth, back = oracle(q1, k2.detach(), temperature), oracle(q2, k1.detach(), temperature)
    assert_same(mine, 2 * temperature * (forth + back), (q1, q2))


def test_moco_v3_keys_get_no_gradient():
    q1, q2, k1, k2 = rows(4)
    loss = moco_v3_loss((q1, q2), (k1, k2), 0.2)
    assert torch.autograd.grad(loss, (k1, k2), allow_unused=True) == (None, None)


def test_float32_at_a_small_temperature():
    q, k = rows(2, 32)
    single = [x.detach().float().requires_grad_() for x in (q, k)]
    loss = in_batch_info_nce(*single, 0.01)
    torch.testing.assert_close(loss.double(), in_batch_info_nce(q, k, 0.01), rtol=1e-5, atol=0)
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(loss, single))


# ------------------------------------------------------------------ algorithm 1 over some steps


def test_three_steps_of_moco_v3_are_algorithm_1():
    """SGD on the loops' loss; the momentum encoder follows between steps; nothing else moves it."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.Tanh()).double()
    net.embed_dim = 6
    method = MoCoV3(net, hidden_dim=8, out_dim=4, momentum=0.9).double()
    views = torch.randn(3, 2, 5, 3, 2, 2, dtype=torch.float64)
    f = nn.Sequential(net, method.projector, method.predictor)
    start = {n: p.detach().clone() for n, p in f.named_parameters()}
    momentum = {n: p.detach().clone() for n, p in method.teacher.teacher.named_parameters()}
    mine, theirs = [], []

    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    for step, pair in enumerate(views):
        loss = method.training_loss({"views": list(pair)}).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.teacher.after_step(Clock(step, 3, 3))
        mine.append(loss.item())
    finish = {n: p.detach().clone() for n, p in f.named_parameters()}
    followed = {n: p.detach().clone() for n, p in method.teacher.teacher.named_parameters()}

    encoder = nn.Sequential(net, method.projector)
    query = {n: p.requires_grad_() for n, p in start.items()}
    for pair in views:
        images = torch.cat(list(pair))
        q1, q2 = torch.func.functional_call(f, query, images).chunk(2)
        k1, k2 = torch.func.functional_call(encoder, momentum, images).detach().chunk(2)
        loss = 2 * 0.2 * (oracle(q1, k2, 0.2) + oracle(q2, k1, 0.2))
        grads = torch.autograd.grad(loss, list(query.values()))
        moved = zip(query.items(), grads, strict=True)
        query = {n: (p - 0.1 * g).detach().requires_grad_() for (n, p), g in moved}
        momentum = {n: 0.9 * p + 0.1 * query[n].detach() for n, p in momentum.items()}
        theirs.append(loss.item())

    assert mine == pytest.approx(theirs, rel=1e-10)
    for name, value in query.items():
        torch.testing.assert_close(finish[name], value.detach(), rtol=1e-9, atol=1e-11)
    for name, value in momentum.items():
        torch.testing.assert_close(followed[name], value, rtol=1e-9, atol=1e-11)


# ------------------------------------------------------------------ ranks

LOSSES = {
    "in_batch": lambda z: in_batch_info_nce(z[0], z[1], 0.1, gather=True),
    "moco_v3": lambda z: moco_v3_loss((z[0], z[1]), (z[2], z[3]), 0.2, gather=True),
    "mutant": lambda z: in_batch_info_nce(z[0], z[1], 0.1),
}


def results(part: slice) -> dict[str, list[torch.Tensor]]:
    seen = {}
    for name, loss_of in LOSSES.items():
        weight = torch.eye(6, dtype=torch.float64).requires_grad_()
        loss = loss_of([x.detach()[part] @ weight for x in rows(4, 8)])
        (grad,) = torch.autograd.grad(loss, weight)
        seen[name] = [d.mean_over_ranks(loss.detach()), d.mean_over_ranks(grad)]
    return seen


def on_rank():
    share = 8 // d.world_size()
    return results(slice(d.rank() * share, (d.rank() + 1) * share))


@pytest.mark.ranks
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_equal_one_process(ranks):
    whole = results(slice(None))
    for result in run_ranks(ranks, on_rank):
        for name in ("in_batch", "moco_v3"):
            for mine, expected in zip(result[name], whole[name], strict=True):
                torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-12, msg=name)
        assert not torch.allclose(result["mutant"][1], whole["mutant"][1], rtol=1e-3)
