from __future__ import annotations

import pytest
import torch
from ranks import run_ranks
from torch import nn

from sslight import distributed as d
from sslight.modules.shuffle import sees_parts_of_the_batch, shuffled
from sslight.modules.split_batch_norm import SplitBatchNorm

BATCH = 8


def images(batch: int = BATCH) -> torch.Tensor:
    return torch.arange(batch * 2.0, dtype=torch.float64).view(batch, 2)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_on_one_device_rows_come_back_in_order():
    seen = []

    def encoder(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return x * 2

    assert torch.equal(shuffled(encoder, images(), generator()), images() * 2)
    assert not torch.equal(seen[0], images())
    assert torch.equal(seen[0].sort(0).values, images())


def test_a_split_batch_norm_gets_mixed_parts():
    norm, order = SplitBatchNorm(2, 2).double(), torch.randperm(BATCH, generator=generator())
    expected = torch.empty(BATCH, 2, dtype=torch.float64)
    expected[order] = norm(images()[order]).detach()
    torch.testing.assert_close(shuffled(norm, images(), generator()), expected)


def test_no_gradient_flows():
    layer = nn.Linear(2, 2).double()
    assert not shuffled(layer, images().requires_grad_(), generator()).requires_grad


def test_one_device_sees_parts_only_where_it_splits():
    assert not sees_parts_of_the_batch(nn.Sequential(nn.BatchNorm1d(2), nn.LayerNorm(2)))
    assert sees_parts_of_the_batch(SplitBatchNorm(2, 2))
    assert not sees_parts_of_the_batch(SplitBatchNorm(2, 2).eval())
    assert not sees_parts_of_the_batch(nn.SyncBatchNorm(2))


def on_rank() -> dict:
    rows = BATCH // d.world_size()
    mine = images()[d.rank() * rows : (d.rank() + 1) * rows]
    plain, synced = nn.BatchNorm1d(2).double(), d.SyncBatchNorm(2).double()
    seen = []
    plain.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    layer = nn.Linear(2, 3, dtype=torch.float64)
    torch.nn.init.ones_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    return {
        "plain": shuffled(plain, mine, generator()),
        "seen": seen[0],
        "running": plain.running_mean,
        "synced": shuffled(synced, mine, generator()),
        "straight": d.SyncBatchNorm(2).double()(mine).detach(),
        "rows": (shuffled(layer, mine, generator()), layer(mine).detach()),
        "parts": [
            sees_parts_of_the_batch(norm)
            for norm in (plain, synced, d.SyncBatchNorm(2, group_size=1), nn.BatchNorm1d(2).eval())
        ],
    }


@pytest.fixture(scope="module")
def by_ranks() -> dict[int, list[dict]]:
    return {ranks: run_ranks(ranks, on_rank) for ranks in (2, 4)}


@pytest.mark.ranks
@pytest.mark.parametrize("ranks", [2, 4])
def test_statistics_are_of_mixed_ranks_and_rows_come_back_in_order(by_ranks, ranks):
    """Rank r normalises its share of the permuted global batch."""
    order = torch.randperm(BATCH, generator=generator())
    expected = torch.empty(BATCH, 2, dtype=torch.float64)
    shares = order.chunk(ranks)
    for result, share in zip(by_ranks[ranks], shares, strict=True):
        assert torch.equal(result["seen"], images()[share])
        torch.testing.assert_close(result["running"], 0.1 * images()[share].mean(0))
        expected[share] = nn.BatchNorm1d(2).double()(images()[share]).detach()
    assert all(len({int(i) // (BATCH // ranks) for i in share}) > 1 for share in shares)
    plain = torch.cat([result["plain"] for result in by_ranks[ranks]])
    torch.testing.assert_close(plain, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.ranks
@pytest.mark.parametrize("ranks", [2, 4])
def test_without_partial_batch_norms_it_changes_nothing(by_ranks, ranks):
    for result in by_ranks[ranks]:
        torch.testing.assert_close(result["synced"], result["straight"], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(*result["rows"], rtol=1e-14, atol=1e-14)
        assert result["parts"] == [True, False, True, False]
