"""One protocol run with several seeds, as one result."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from sslight.eval._statistics import mean_interval
from sslight.eval.base import Result


def over_seeds(results: Sequence[Result], seeds: Sequence[int]) -> Result:
    """Join the results of one protocol run with several seeds: means, and Student's intervals.

    Metrics that are not in all results are left out. ``rows`` hold the mean of each, its interval
    and every seed's figure.
    """
    first, *_ = results
    shared = [name for name in first.metrics if all(name in r.metrics for r in results)]
    values = {name: [r.metrics[name] for r in results] for name in shared}
    rows: list[dict[str, Any]] = []
    for name, found in values.items():
        mean, low, high = mean_interval(found)
        single = {f"seed {seed}": value for seed, value in zip(seeds, found, strict=True)}
        rows.append({"figure": name, "mean": mean, "low": low, "high": high,
                     **single})  # fmt: skip
    return dataclasses.replace(
        first,
        metrics={row["figure"]: row["mean"] for row in rows},
        intervals={row["figure"]: (row["low"], row["high"]) for row in rows},
        options={**first.options, "seed": list(seeds)},
        seconds=sum(result.seconds for result in results),
        rows=rows,
    )
