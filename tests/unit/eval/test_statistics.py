from __future__ import annotations

import math

import pytest

from sslight.eval._statistics import interval, mean_interval, student


def test_the_interval_is_wilsons():
    low, high = interval(0.9, 100)
    assert (low, high) == (pytest.approx(0.8256, abs=1e-4), pytest.approx(0.9448, abs=1e-4))
    assert interval(1.0, 10)[1] == pytest.approx(1.0)
    assert interval(0.0, 10)[0] == pytest.approx(0.0)


@pytest.mark.parametrize("freedom", [1, 4, 10, 11, 30, 1000])
def test_student_is_scipys(freedom):
    stats = pytest.importorskip("scipy.stats")
    assert student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-3)


def test_the_mean_of_draws():
    mean, low, high = mean_interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert (low, high) == (pytest.approx(2 - 4.3027 / 3**0.5), pytest.approx(2 + 4.3027 / 3**0.5))
    assert math.isnan(mean_interval([0.5])[1])
