"""Measures without labels on spectra whose answers are known, and alpha-ReQ's fit by numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sslight import metrics


def with_spectrum(eigenvalues: np.ndarray, n: int = 600, seed: int = 0) -> torch.Tensor:
    """Centred features whose covariance (of the sample) has exactly these eigenvalues."""
    draw = np.random.default_rng(seed)
    width = len(eigenvalues)
    x = draw.normal(size=(n, width))
    left, _ = np.linalg.qr(x - x.mean(0))  # columns stay centred
    right, _ = np.linalg.qr(draw.normal(size=(width, width)))
    return torch.from_numpy(left * np.sqrt(eigenvalues * n) @ right.T)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.5])
def test_alpha_is_the_power_of_a_power_law(alpha):
    x = with_spectrum(np.arange(1, 121) ** -alpha)
    assert float(metrics.alpha_req(x)) == pytest.approx(alpha, abs=1e-6)


def test_alpha_is_numpys_weighted_fit():
    draw = np.random.default_rng(3)
    eigenvalues = np.sort(np.arange(1, 81) ** -1.3 * draw.uniform(0.5, 2.0, 80))[::-1]
    found = float(metrics.alpha_req(with_spectrum(eigenvalues), first=4, last=60))
    j = np.arange(4, 61)
    slope, _ = np.polyfit(np.log(j), np.log(eigenvalues[3:60]), 1, w=np.sqrt(1 / j))
    assert found == pytest.approx(-slope, abs=1e-6)
    unweighted, _ = np.polyfit(np.log(j), np.log(eigenvalues[3:60]), 1)
    assert abs(found + unweighted) > 1e-3  # the weights matter


def test_alpha_reads_the_spectrum_up_to_its_rank():
    eigenvalues = np.arange(1, 41) ** -1.0
    eigenvalues[20:] = 0
    x = with_spectrum(eigenvalues)
    assert float(metrics.alpha_req(x)) == pytest.approx(1.0, abs=1e-5)
    assert np.isnan(float(metrics.alpha_req(with_spectrum(eigenvalues[:2]))))


def test_ranks_of_a_flat_spectrum():
    eigenvalues = np.zeros(50)
    eigenvalues[:7] = 3.0
    x = with_spectrum(eigenvalues)
    assert float(metrics.effective_rank(x)) == pytest.approx(7, rel=1e-6)
    assert float(metrics.rankme(x)) == pytest.approx(7, rel=1e-3)


def test_alignment_is_the_squared_distance_of_directions():
    a = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    b = torch.tensor([[5.0, 0.0], [1.0, 0.0], [-1.0, -1.0]])
    torch.testing.assert_close(
        metrics.alignment(a, b), torch.tensor([0.0, 2.0, 4.0], dtype=torch.float64)
    )


def test_uniformity_of_two_opposite_points():
    x = torch.tensor([[1.0, 0.0], [-4.0, 0.0]])
    assert float(metrics.uniformity(x)) == pytest.approx(-8.0)  # log exp(-2 * 2^2)
