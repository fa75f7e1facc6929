"""ReSSL's loss against loops, and the method against algorithm 1 over some steps.

No installed peer has this loss.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sslight.losses.ressl import relational_loss
from sslight.methods.ressl import ReSSL
from sslight.schedules import Clock


def unit(row: torch.Tensor) -> torch.Tensor:
    return row / row.norm()


def relation(row: torch.Tensor, bank: list[torch.Tensor], temperature: float) -> torch.Tensor:
    """The softmax over the bank, one exponential at a time."""
    scores = [torch.exp(unit(row) @ other / temperature) for other in bank]
    return torch.stack([score / sum(scores) for score in scores])


def oracle(student, teacher, bank, student_temperature=0.1, teacher_temperature=0.04):
    terms = []
    for q, k in zip(student, teacher, strict=True):
        target = relation(k.detach(), bank, teacher_temperature)
        mine = relation(q, bank, student_temperature)
        terms.append(-sum(t * torch.log(m) for t, m in zip(target, mine, strict=True)))
    return torch.stack(terms).mean()


def rows(batch: int, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(batch * 100 + size)
    options = {"generator": generator, "dtype": torch.float64}
    student, teacher = torch.randn(2, batch, 6, **options).unbind()
    bank = F.normalize(torch.randn(size, 6, **options), dim=1)
    return student.requires_grad_(), teacher.requires_grad_(), bank


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("size", [2, 30])
@pytest.mark.parametrize("temperatures", [(0.1, 0.04), (0.5, 0.2)])
def test_value_and_gradient_equal_the_loops(batch, size, temperatures):
    student, teacher, bank = rows(batch, size)
    mine = relational_loss(student, teacher, bank, *temperatures)
    theirs = oracle(student, teacher, list(bank), *temperatures)
    torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-12)
    (x,), (y,) = (torch.autograd.grad(loss, student, retain_graph=True) for loss in (mine, theirs))
    torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-12)
    assert torch.autograd.grad(mine, teacher, allow_unused=True) == (None,)


def test_swapped_temperatures_would_be_noticed():
    student, teacher, bank = rows(5, 30)
    wrong = relational_loss(student, teacher, bank, 0.04, 0.1)
    assert abs(wrong - oracle(student, teacher, list(bank))) > 0.1


def test_float32_at_a_small_temperature():
    student, teacher, bank = rows(16, 30)
    single = [x.detach().float() for x in (student, teacher, bank)]
    single[0].requires_grad_()
    loss = relational_loss(*single, 0.01, 0.004)
    expected = relational_loss(student, teacher, bank, 0.01, 0.004)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)
    assert torch.autograd.grad(loss, single[0])[0].isfinite().all()


def test_three_steps_are_algorithm_1():
    """The queue before the batch enters it, then the update, then the teacher's step."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.Tanh())
    net.embed_dim = 6
    method = ReSSL(net, hidden_dim=8, out_dim=4, queue_size=7, momentum=0.9).double()
    online = nn.Sequential(method.backbone, method.projector)
    optimizer = torch.optim.SGD(online.parameters(), lr=0.1)
    momentum = {n: p.detach().clone() for n, p in online.named_parameters()}
    bank, cursor, early = list(method.queue.rows.clone()), 0, 0
    for step, (weak, strong) in enumerate(torch.randn(3, 2, 3, 3, 2, 2, dtype=torch.float64)):
        k = torch.func.functional_call(online, momentum, weak).detach()
        q = online(strong)
        loss = method.training_loss({"views": [weak, strong]}).loss
        torch.testing.assert_close(loss, oracle(q, k, bank), rtol=1e-10, atol=1e-12)
        for row in k:
            bank[cursor % 7] = unit(row)
            cursor += 1
        early += abs(oracle(q, k, bank) - loss).item() > 0.01  # mutant: enqueue first
        torch.testing.assert_close(method.queue.rows, torch.stack(bank), rtol=1e-10, atol=1e-12)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.teacher.after_step(Clock(step, 3, 3))
        new = dict(online.named_parameters())
        momentum = {n: 0.9 * p + 0.1 * new[n].detach() for n, p in momentum.items()}
    assert early == 3
