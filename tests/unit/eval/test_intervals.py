"""Intervals against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from sslight.eval import Result
from sslight.eval._intervals import interval, mean_interval, over_seeds


def test_the_interval_is_wilsons():
    low, high = interval(0.9, 100)
    assert (low, high) == (pytest.approx(0.8256, abs=1e-4), pytest.approx(0.9448, abs=1e-4))
    assert interval(1.0, 10)[1] == pytest.approx(1.0)
    assert interval(0.0, 10)[0] == pytest.approx(0.0)


def test_the_mean_over_seeds_has_students_interval():
    stats = pytest.importorskip("scipy.stats")
    for n in (2, 5, 31, 60):
        values = np.random.default_rng(n).normal(size=n).tolist()
        half = stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)
        low, high = mean_interval(values)
        assert (high + low) / 2 == pytest.approx(np.mean(values))
        assert (high - low) / 2 == pytest.approx(half, rel=0.03)  # a table, then the normal's


def test_results_of_seeds_are_joined():
    results = [Result("x", {"top1": v, f"only{v}": 0.0}, {"seed": i}, n=9, seconds=1.0)
               for i, v in enumerate((0.5, 0.7))]  # fmt: skip
    joined = over_seeds(results, [0, 1])
    assert joined.metrics == {"top1": pytest.approx(0.6)}
    low, high = joined.intervals["top1"]
    assert low < 0.6 < high
    assert (joined.n, joined.seconds, joined.options["seed"]) == (9, 2.0, [0, 1])
    (row,) = joined.rows
    assert (row["figure"], row["seed 0"], row["seed 1"]) == ("top1", 0.5, 0.7)
    assert (row["mean"], row["low"], row["high"]) == (joined.metrics["top1"], low, high)
