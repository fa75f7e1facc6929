"""MoCo's loss and queue against loops written from the paper, and against lightly."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from sslight.losses.moco_v2 import moco_v2_loss
from sslight.modules.queue import Queue


def rows(seed: int, count: int, dim: int = 6, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator, dtype=dtype)


def oracle(
    query: torch.Tensor, key: torch.Tensor, queue: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Equation 1, one exponential at a time."""
    terms = []
    for q, k in zip(query, key, strict=True):
        q, k = q / q.norm(), (k / k.norm()).detach()
        positive = torch.exp(q @ k / temperature)
        others = sum(torch.exp(q @ row / temperature) for row in queue)
        terms.append(-torch.log(positive / (positive + others)))
    return torch.stack(terms).mean()


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("size", [1, 16])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_value_and_gradient_equal_the_loops(batch, size, temperature):
    query, key = rows(0, batch).requires_grad_(), rows(1, batch).requires_grad_()
    queue = F.normalize(rows(2, size), dim=1)
    loss, expected = (f(query, key, queue, temperature) for f in (moco_v2_loss, oracle))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    mine, theirs = (torch.autograd.grad(value, query)[0] for value in (loss, expected))
    torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_keys_and_queue_get_no_gradient():
    query, key, queue = (rows(seed, 4).requires_grad_() for seed in range(3))
    loss = moco_v2_loss(query, key, queue)
    assert torch.autograd.grad(loss, [key, queue], allow_unused=True) == (None, None)


@pytest.mark.parametrize("enqueue_first", [False, True])
def test_agrees_with_lightly_over_steps(enqueue_first):
    """Value, gradient and queue; the mutant's positives are among its negatives."""
    lightly = pytest.importorskip("lightly.loss")
    theirs = lightly.NTXentLoss(temperature=0.2, memory_bank_size=(12, 6))
    mine = Queue(12, 6)
    theirs.memory_bank.bank = mine.rows.clone()
    for step in range(7):
        query, key = rows(step, 4, dtype=torch.float32).requires_grad_(), rows(99 + step, 4).float()
        if enqueue_first:
            mine.push(F.normalize(key, dim=1))
        loss = moco_v2_loss(query, key, mine.rows.clone(), 0.2)
        if not enqueue_first:
            mine.push(F.normalize(key, dim=1))
        other = theirs(query, key)
        same = math.isclose(loss.item(), other.item(), rel_tol=1e-6)
        assert same != enqueue_first
        if same:
            grads = [torch.autograd.grad(value, query)[0] for value in (loss, other)]
            torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(mine.rows, theirs.memory_bank.bank, rtol=1e-6, atol=1e-7)


def test_float32_at_a_small_temperature():
    query, key, queue = rows(0, 32), rows(1, 32), F.normalize(rows(2, 64), dim=1)
    expected = moco_v2_loss(query, key, queue, 0.01)
    loss = moco_v2_loss(query.float(), key.float(), queue.float(), 0.01)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_collapsed_encoder_has_the_log_of_the_number_of_candidates():
    ones = torch.ones(4, 3)
    queue = F.normalize(torch.ones(9, 3), dim=1)
    assert moco_v2_loss(ones, ones, queue).item() == pytest.approx(math.log(10), rel=1e-6)
