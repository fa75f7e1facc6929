"""Sinkhorn-Knopp against the algorithm written as loops, against lightly, and at its limits."""

from __future__ import annotations

import math

import pytest
import torch
from ranks import run_ranks

from sslight import distributed as d
from sslight.losses.sinkhorn import sinkhorn


def oracle(scores: torch.Tensor, epsilon: float, iterations: int) -> torch.Tensor:
    """Algorithm 1's ``sinkhorn``: one number at a time, prototypes then samples."""
    samples, prototypes = scores.shape
    q = [[math.exp(scores[b, k] / epsilon) for b in range(samples)] for k in range(prototypes)]
    total = sum(map(sum, q))
    q = [[entry / total for entry in row] for row in q]
    for _ in range(iterations):
        q = [[entry / sum(row) / prototypes for entry in row] for row in q]
        columns = [sum(row[b] for row in q) for b in range(samples)]
        q = [[row[b] / columns[b] / samples for b in range(samples)] for row in q]
    return torch.tensor(q, dtype=torch.float64).T * samples


def random_scores(batch: int, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(10 * batch + count)
    return torch.rand(batch, count, generator=generator, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize(("batch", "count"), [(1, 3), (6, 4), (4, 9)])
@pytest.mark.parametrize("epsilon", [0.05, 0.5])
@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_codes_are_those_of_the_loops(batch, count, epsilon, iterations):
    scores = random_scores(batch, count)
    codes = sinkhorn(scores, epsilon, iterations)
    torch.testing.assert_close(codes, oracle(scores, epsilon, iterations), rtol=1e-10, atol=1e-13)


def test_ending_with_the_prototypes_would_be_noticed():
    scores = random_scores(6, 4)
    codes = sinkhorn(scores)
    mutant = codes / codes.sum(0) * 6 / 4
    assert (mutant - oracle(scores, 0.05, 3)).abs().max() > 1e-3


def test_agrees_with_lightly():
    lightly = pytest.importorskip("lightly.loss.swav_loss")
    scores = random_scores(32, 12)
    torch.testing.assert_close(sinkhorn(scores), lightly.sinkhorn(scores), rtol=1e-9, atol=1e-12)


def test_many_iterations_use_prototypes_equally():
    codes = sinkhorn(random_scores(32, 8), 0.5, 200)
    torch.testing.assert_close(codes.sum(1), torch.ones(32, dtype=torch.float64))
    torch.testing.assert_close(codes.sum(0), torch.full((8,), 4.0, dtype=torch.float64))


@pytest.mark.parametrize("epsilon", [0.05, 0.01, 0.001])
def test_float32_neither_underflows_nor_overflows(epsilon):
    scores = random_scores(16, 40)
    scores[:, 3] -= 50  # a prototype far from everything
    scores[5] += 1000  # a sample whose exponential is infinite
    codes = sinkhorn(scores.float(), epsilon)
    assert codes.isfinite().all()
    torch.testing.assert_close(codes.sum(1), torch.ones(16))
    exact = sinkhorn(scores, epsilon)
    torch.testing.assert_close(codes.double(), exact, rtol=0, atol=0.05 if epsilon < 0.01 else 5e-3)


def test_low_precision_is_computed_in_float32():
    scores = random_scores(8, 5).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        codes = sinkhorn(scores)
    assert codes.dtype == torch.float32
    assert torch.equal(codes, sinkhorn(scores.float()))


def test_a_weight_is_a_number_of_equal_samples():
    scores = random_scores(5, 4)
    weights = torch.tensor([1, 3, 0, 2, 1])
    repeated = sinkhorn(scores.repeat_interleave(weights, 0))
    first = weights.cumsum(0) - weights
    codes = sinkhorn(scores, weights=weights)
    taking_part = [0, 1, 3, 4]
    torch.testing.assert_close(codes[taking_part], repeated[first[taking_part]])
    torch.testing.assert_close(codes.sum(1), torch.ones(5, dtype=torch.float64))


def test_samples_of_weight_zero_change_nothing():
    scores, junk = random_scores(5, 4), 1e4 * random_scores(3, 4)
    weights = torch.tensor([1.0] * 5 + [0.0] * 3)
    codes = sinkhorn(torch.cat([scores, junk]), weights=weights)
    torch.testing.assert_close(codes[:5], sinkhorn(scores))
    assert codes.isfinite().all()


def test_when_nobody_takes_part_each_sample_goes_its_own_way():
    scores = random_scores(3, 4)
    codes = sinkhorn(scores, weights=torch.zeros(3))
    assert codes.isfinite().all()
    assert torch.equal(codes.argmax(1), scores.argmax(1))


def on_rank() -> dict[str, torch.Tensor]:
    scores = random_scores(8, 5)
    mine = scores.chunk(d.world_size())[d.rank()]
    uneven = scores[:3] if d.rank() == 0 else scores[3:]
    return {
        "whole": d.all_gather(sinkhorn(mine)),
        "alone": sinkhorn(mine, gather=False),
        "uneven": sinkhorn(uneven),
        "none": sinkhorn(scores if d.rank() == 0 else scores[:0]),
        "weighted": d.all_gather(sinkhorn(mine, weights=torch.arange(4.0) + d.rank())),
    }


@pytest.mark.ranks
def test_ranks_normalise_over_all_samples():
    scores = random_scores(8, 5)
    first, second = run_ranks(2, on_rank)
    weights = torch.cat([torch.arange(4.0), torch.arange(4.0) + 1])
    for result in (first, second):
        torch.testing.assert_close(result["whole"], sinkhorn(scores))
        torch.testing.assert_close(result["weighted"], sinkhorn(scores, weights=weights))
    torch.testing.assert_close(first["alone"], sinkhorn(scores[:4]))
    torch.testing.assert_close(torch.cat([first["uneven"], second["uneven"]]), sinkhorn(scores))
    torch.testing.assert_close(first["none"], sinkhorn(scores))
    assert second["none"].shape == (0, 5)
