from __future__ import annotations

import math

import pytest
import torch
from ranks import run_ranks

from sslight import distributed as d
from sslight.losses.nce import log_partition, memory_logits, nce_loss


def logits(batch: int = 4) -> torch.Tensor:
    return torch.randn(batch, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_logits_are_cosines_over_the_temperature():
    rows = torch.eye(3).expand(2, 3, 3)
    expected = torch.tensor([[0.6, 0.8, 0.0], [0.0, 1.0, 0.0]]) / 0.5
    got = memory_logits(torch.tensor([[3.0, 4.0, 0.0], [0.0, 2.0, 0.0]]), rows, 0.5)
    torch.testing.assert_close(got, expected)


def test_at_the_noise_s_own_odds_every_decision_is_a_coin():
    """P = K / N everywhere: each of 1 + K decisions costs log 2."""
    log_z = torch.tensor(math.log(100 / 5))
    loss = nce_loss(torch.zeros(3, 6), log_z, 100)
    assert loss.item() == pytest.approx(6 * math.log(2), rel=1e-4)


def test_the_partition_function_is_n_times_the_mean():
    expected = math.log(50 * logits().exp().mean().item())
    assert log_partition(logits(), 50).item() == pytest.approx(expected, rel=1e-12)
    assert not log_partition(logits().requires_grad_(), 50).requires_grad


def test_low_precision_is_computed_in_float32():
    x, log_z = logits().bfloat16(), torch.tensor(2.0)
    assert nce_loss(x, log_z, 50).dtype == torch.float32
    assert torch.equal(nce_loss(x, log_z, 50), nce_loss(x.float(), log_z, 50))


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\[B, 1 \+ K, P\], got \(2, 3\) and \(2, 4, 5\)"):
        memory_logits(torch.ones(2, 3), torch.ones(2, 4, 5), 1.0)
    with pytest.raises(ValueError, match=r"got \(4, 1\)"):
        nce_loss(torch.ones(4, 1), torch.tensor(0.0), 10)


def on_rank() -> torch.Tensor:
    return log_partition(logits().chunk(d.world_size())[d.rank()], 50)


@pytest.mark.ranks
def test_ranks_share_the_partition_function():
    for seen in run_ranks(2, on_rank):
        torch.testing.assert_close(seen, log_partition(logits(), 50))
