"""One protocol over several seeds."""

from __future__ import annotations

import pytest

from sslight.eval import Result
from sslight.eval._seeds import over_seeds


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
