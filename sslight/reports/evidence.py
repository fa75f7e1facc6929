"""The evidence of a run, out of its curves and facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sslight.reports.curves import Series
from sslight.reports.verdict import Evidence

#: Accuracies from the most to the least telling: metric, words, whether it is over the test split.
_ACCURACIES = (
    ("knn/top1", "kNN accuracy", True),
    ("probe/val_top1", "linear probe's accuracy", True),
    ("val/top1", "accuracy", True),
    ("probe/top1", "linear probe's accuracy on training batches", False),
)
#: Smoothed beyond this length: a batch's accuracy is noisy.
_BATCHES = 8


def gather(series: Mapping[str, Series], facts: Mapping[str, Any]) -> Evidence:
    """Collect what a verdict needs.

    Args:
        series: Every metric of the run.
        facts: What :mod:`sslight.reports.facts` found.
    """
    accuracy, name, on_test = _accuracy(series)
    test = (facts.get("data") or {}).get("test") or {}
    return Evidence(
        step=last_step(series),
        total=facts.get("total"),
        loss=_values(series, "train/loss"),
        spread=_values(series, "collapse/std"),
        rank=_values(series, "collapse/rank"),
        accuracy=accuracy,
        accuracy_name=name,
        images=test.get("labelled") if on_test else None,
        chance=_chance(test),
        wait=wait_shares(series),
    )


def last_step(series: Mapping[str, Series]) -> int:
    """The newest step of which anything is known."""
    return max((int(s.steps[-1]) for s in series.values() if len(s.steps)), default=0)


def wait_shares(series: Mapping[str, Series]) -> list[float]:
    """The share of each logged step spent waiting for data."""
    wait, step = _values(series, "time/data_wait"), _values(series, "time/step")
    return [w / s for w, s in zip(wait, step, strict=False) if s > 0]


def training_seconds(series: Mapping[str, Series]) -> float | None:
    """Time spent on training steps, validation left out; None where it was not logged."""
    found = series.get("time/step")
    if found is None or not len(found.steps):
        return None
    steps = np.diff(found.steps, prepend=0)
    return float(np.nansum(steps * found.values))


def _accuracy(series: Mapping[str, Series]) -> tuple[list[float], str, bool]:
    for metric, name, on_test in _ACCURACIES:
        values = series[metric].finite.tolist() if metric in series else []
        if values:
            return (values if on_test else _smoothed(values)), name, on_test
    return [], "accuracy", False


def _smoothed(values: list[float]) -> list[float]:
    parts = np.array_split(values, min(_BATCHES, len(values)))
    return [float(part.mean()) for part in parts]


def _values(series: Mapping[str, Series], name: str) -> list[float]:
    return series[name].values.tolist() if name in series else []


def _chance(split: Mapping[str, Any]) -> float | None:
    labelled, largest = split.get("labelled"), split.get("largest")
    return largest / labelled if labelled and largest else None
