import math

import pytest
import torch

from sslight.augment.draws import normals, seed_of, uniforms

GOLDEN = [[0.20285367933765086, 0.5702480286904262], [0.5583815985169488, 0.4686828336730958]]
GOLDEN_SEED = 3851293329796251419
MASK = 2**64 - 1


def mix(z):
    """Finalise as SplitMix64 does, on Python's whole numbers."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_mixing_is_splitmix64s():
    # First outputs of the reference generator from state 0, as published with it.
    golden = 0x9E3779B97F4A7C15
    assert [mix(golden * k & MASK) for k in (1, 2)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
    assert seed_of(0) == 0xE220A8397B1DCDAF >> 1


@pytest.mark.parametrize("address", [(0, 0, 0, 0), (7, 3, 10**9, 1), (2**63 - 1, 10**6, 2**62, 9)])
def test_tensor_arithmetic_equals_whole_numbers(address):
    seed, epoch, index, view = address
    golden = 0x9E3779B97F4A7C15
    key = mix(mix((golden + seed) & MASK) + golden + view & MASK)
    state = mix(mix(epoch * golden + key & MASK) + index & MASK)
    expected = [(mix(state + golden * k & MASK) >> 11) * 2.0**-53 for k in (1, 2, 3)]
    assert uniforms(seed, epoch, torch.tensor([index]), view, 3).tolist() == [expected]


def test_golden_values_never_change():
    # A change here changes every run ever made.
    drawn = uniforms(0, 0, torch.tensor([0, 1]), 0, 2)
    assert drawn.tolist() == GOLDEN
    assert seed_of(1, 2, 3) == GOLDEN_SEED


def test_subset_and_order_do_not_matter():
    index = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    whole = uniforms(3, 5, torch.arange(1000), 1, 7)
    assert torch.equal(uniforms(3, 5, index, 1, 7), whole[index])
    assert torch.equal(uniforms(3, 5, index[:1], 1, 7), whole[index[:1]])


def test_more_draws_add_columns():
    index = torch.arange(50)
    assert torch.equal(uniforms(3, 5, index, 1, 9)[:, :4], uniforms(3, 5, index, 1, 4))


def test_epoch_may_differ_per_sample():
    epochs = torch.tensor([0, 1, 2])
    mixed = uniforms(0, epochs, torch.tensor([7, 7, 7]), 0, 4)
    for row, epoch in zip(mixed, epochs.tolist(), strict=True):
        assert torch.equal(row, uniforms(0, epoch, torch.tensor([7]), 0, 4)[0])


def test_uniform():
    drawn = uniforms(0, 0, torch.arange(20_000), 0, 10)
    assert drawn.dtype == torch.float64
    assert drawn.min() >= 0
    assert drawn.max() < 1
    for column in drawn.unbind(1):
        counts = torch.histc(column, bins=50, min=0, max=1)
        chi2 = ((counts - 400) ** 2 / 400).sum()
        assert 20 < chi2 < 95  # 49 degrees of freedom: within 1e-4 on either side
    assert (drawn.reshape(-1).frac() * 2**20).frac().std() > 0.28  # low bits are random too


def _correlation(a, b):
    return torch.corrcoef(torch.stack([a.reshape(-1), b.reshape(-1)]))[0, 1].abs().item()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((0, 0, 0, 0), (0, 0, 1, 0)),
        ((0, 0, 0, 0), (0, 1, 0, 0)),
        ((0, 0, 0, 0), (0, 0, 0, 1)),
        ((0, 0, 0, 0), (1, 0, 0, 0)),
        ((0, 1, 0, 0), (0, 0, 1, 0)),
        ((1, 0, 0, 0), (0, 0, 0, 1)),
        ((0, 0, 0, 0), (0, 0, 0, -1)),
    ],
    ids=["index", "epoch", "view", "seed", "epoch-index", "seed-view", "view-1"],
)
def test_neighbours_are_independent(first, second):
    def draw(seed, epoch, shift, view):
        return uniforms(seed, epoch, torch.arange(10_000) + shift, view, 4)

    a, b = draw(*first), draw(*second)
    bound = 5 / math.sqrt(a.numel())
    assert _correlation(a, b) < bound
    assert _correlation((a - 0.5).abs(), (b - 0.5).abs()) < bound
    assert not (a == b).any()


def test_slots_are_independent():
    drawn = uniforms(0, 0, torch.arange(20_000), 0, 8)
    off_diagonal = torch.corrcoef(drawn.T) - torch.eye(8)
    assert off_diagonal.abs().max() < 5 / math.sqrt(20_000)


def test_normals():
    drawn = normals(0, 0, torch.arange(50_000), 0, 2)
    assert drawn.shape == (50_000, 2)
    assert drawn.mean().abs() < 0.015
    assert (drawn.var() - 1).abs() < 0.02
    assert (drawn.abs() < 1).double().mean() == pytest.approx(0.6827, abs=0.006)
    assert torch.equal(normals(0, 0, torch.tensor([41]), 0, 2)[0], drawn[41])


def test_seed_of():
    seeds = {seed_of(a, b) for a in range(100) for b in range(100)}
    assert len(seeds) == 10_000
    assert all(0 <= s < 2**63 for s in seeds)
    assert seed_of(0) != seed_of(0, 0)
    assert seed_of(-1) == seed_of(-1)
