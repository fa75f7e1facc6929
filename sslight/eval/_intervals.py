"""95 % intervals: of a share of images, and of a mean over seeds."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

from sslight.eval.base import Result

#: Two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom; the normal's beyond.
_STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160),
    *(2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056),
    *(2.052, 2.048, 2.045, 2.042),
)
_NORMAL = 1.959964


def interval(share: float, n: int, z: float = _NORMAL) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of ``n`` independent images."""
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's 95 % interval of the mean of two or more independent values."""
    degrees = len(values) - 1
    t = _STUDENT[degrees - 1] if degrees <= len(_STUDENT) else _NORMAL
    middle = statistics.fmean(values)
    half = t * statistics.stdev(values) / math.sqrt(len(values))
    return middle - half, middle + half


def over_seeds(results: Sequence[Result], seeds: Sequence[int]) -> Result:
    """Join the results of one protocol run with several seeds: means, and Student's intervals.

    Metrics that are not in all results are left out. ``rows`` hold the mean of each, its interval
    and every seed's figure.
    """
    first, *_ = results
    shared = [name for name in first.metrics if all(name in r.metrics for r in results)]
    values = {name: [r.metrics[name] for r in results] for name in shared}
    rows = []
    for name, found in values.items():
        low, high = mean_interval(found)
        single = {f"seed {seed}": value for seed, value in zip(seeds, found, strict=True)}
        rows.append({"figure": name, "mean": statistics.fmean(found), "low": low, "high": high,
                     **single})  # fmt: skip
    return dataclasses.replace(
        first,
        metrics={name: statistics.fmean(found) for name, found in values.items()},
        intervals={name: mean_interval(found) for name, found in values.items()},
        options={**first.options, "seed": list(seeds)},
        seconds=sum(result.seconds for result in results),
        rows=rows,
    )
