from __future__ import annotations

import pytest
import torch

from sslight.modules.color_bins import ColorBins, gamut_bins
from sslight.modules.lab import rgb_to_lab


def test_bins_are_the_cells_that_colours_fall_into():
    bins = gamut_bins(10)
    assert bins.shape == (261, 2)
    assert torch.equal(bins % 10, torch.zeros_like(bins))
    every_fifth = torch.cartesian_prod(*[torch.arange(0, 256, 5)] * 3).double() / 255
    cells = (rgb_to_lab(every_fifth)[:, 1:] / 10).round().unique(dim=0) * 10
    known = set(map(tuple, bins.tolist()))
    assert set(map(tuple, cells.tolist())) <= known
    assert {(0.0, 0.0), (80.0, 70.0), (-90.0, 80.0)} <= known
    assert len(ColorBins(20)) < 100


def test_a_colour_at_a_bin_lies_mostly_in_it():
    bins = ColorBins()
    encoded = bins.encode(torch.tensor([[10.0, 20.0], [3.0, 0.0]]), neighbours=5, sigma=5)
    assert bins.bins[encoded.bin[0, 0]].tolist() == [10, 20]
    assert bins.bins[encoded.bin[1, :2]].tolist() == [[0, 0], [10, 0]]
    torch.testing.assert_close(encoded.share.sum(1), torch.ones(2))
    assert encoded.share[0, 0] > 0.6
    assert (encoded.share.diff(dim=1) <= 0).all()


def test_colours_between_the_cells_and_outside_are_encoded_too():
    encoded = ColorBins().encode(torch.tensor([[200.0, 200.0]]))
    assert encoded.share.isfinite().all()
    assert encoded.share.sum() == pytest.approx(1)


def test_rare_colours_weigh_more():
    bins = ColorBins()
    assert torch.equal(bins.weights(), torch.ones(261))
    bins.count(torch.tensor([7] * 90 + [200] * 10))
    assert bins.counts[7] == 90
    assert bins.counts.sum() == 100
    weights = bins.weights()
    assert weights[7] < weights[200] < weights[100]
    torch.testing.assert_close(bins.weights(uniform=1), torch.ones(261))


def test_counts_survive_a_cast_and_bins_are_exact_in_it():
    bins = ColorBins().bfloat16()
    bins.counts += 2**40 + 1
    assert bins.counts[0] == 2**40 + 1
    assert torch.equal(bins.bins.float(), gamut_bins(10))
    assert bins.weights().dtype == torch.float32
    assert list(bins.state_dict()) == ["counts"]


def test_it_builds_without_memory():
    with torch.device("meta"):
        assert len(ColorBins()) == 261


def test_a_step_below_one_is_refused():
    with pytest.raises(ValueError, match="step is 0"):
        ColorBins(0)
