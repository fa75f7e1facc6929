from __future__ import annotations

import pytest
import torch
from ranks import run_ranks

from sslight import distributed as d
from sslight.modules.center import Center


def test_it_starts_at_zero_and_is_saved():
    center = Center(3)
    assert center.value.tolist() == [0, 0, 0]
    center.update(torch.ones(2, 3))
    other = Center(3)
    other.load_state_dict(center.state_dict())
    torch.testing.assert_close(other.value, torch.full((3,), 0.1))


def test_rows_may_have_more_dimensions():
    a, b = Center(3, 0.5), Center(3, 0.5)
    rows = torch.arange(24.0).view(2, 4, 3)
    a.update(rows)
    b.update(rows.view(8, 3))
    assert torch.equal(a.value, b.value)


def test_only_counted_rows_count():
    rows, counted = torch.randn(4, 5, 3), torch.rand(4, 5) < 0.4
    center = Center(3, 0.0)
    center.update(rows, counted)
    torch.testing.assert_close(center.value, rows[counted].mean(0))


def test_without_a_counted_row_nothing_moves():
    center = Center(3)
    center.update(torch.ones(2, 3))
    before = center.value.clone()
    center.update(torch.ones(2, 3), torch.zeros(2, dtype=torch.bool))
    assert torch.equal(center.value, before)


@pytest.mark.parametrize("momentum", [-0.1, 1.5])
def test_momentum_lies_between_0_and_1(momentum):
    with pytest.raises(ValueError, match=f"momentum is {momentum}"):
        Center(3, momentum)


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 3, generator=generator), torch.arange(8) % 3 == 0


def on_rank() -> list[torch.Tensor]:
    x, counted = (part.chunk(2)[d.rank()] for part in rows())
    centers = [Center(3, 0.5), Center(3, 0.5)]
    centers[0].update(x)
    centers[1].update(x, counted)
    return [center.value for center in centers]


@pytest.mark.ranks
def test_ranks_count_their_rows_together():
    x, counted = rows()
    first, second = run_ranks(2, on_rank)
    for mine, theirs, mean in zip(first, second, (x.mean(0), x[counted].mean(0)), strict=True):
        assert torch.equal(mine, theirs)
        torch.testing.assert_close(mine, mean / 2)


LOW = pytest.mark.parametrize("low", [torch.float16, torch.bfloat16])


@LOW
@pytest.mark.parametrize("autocast", [True, False])
def test_many_rows_are_averaged_in_float32(low, autocast):
    """Summed in float16 they overflow, in bfloat16 they round to two digits."""
    rows = (10 + torch.randn(20_000, 3)).to(low)
    counted = torch.rand(len(rows)) < 0.7
    for chosen in (None, counted):
        center = Center(3, 0.5)
        with torch.autocast("cpu", dtype=low, enabled=autocast):
            center.update(rows, chosen)
        mean = (rows if chosen is None else rows[chosen]).double().mean(0)
        torch.testing.assert_close(center.value, mean.float() / 2, rtol=1e-5, atol=0)


@LOW
def test_it_stays_in_float32_where_a_network_becomes_16_bit(low):
    """A mean that moves by a tenth of what is left would stop a few percent short."""
    center = Center(3)
    center.update(torch.rand(4, 3))
    before = center.value
    center.to(low)
    assert center.value.dtype == torch.float32
    assert torch.equal(center.value, before)
    for _ in range(200):
        center.update(torch.ones(4, 3, dtype=low))
    torch.testing.assert_close(center.value, torch.ones(3), rtol=1e-6, atol=1e-6)
    assert center.double().value.dtype == torch.float64
