"""``metrics.jsonl`` as curves short enough to draw."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from sslight.reports.base import Facts

#: Points of a drawn curve; a longer one shows the mean, lowest and highest value of each stretch.
POINTS = 240

#: Panels in their order: title, unit, how the axis is drawn, prefixes of their metrics.
PANELS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("Loss", "", "", ("train/loss", "val/loss")),
    ("Accuracy of frozen features", "%", "share",
     ("knn/top1", "knn_", "probe/val_top1", "probe/top1", "val/top1", "val/map")),
    ("Learning rate", "", "zero", ("train/lr", "lr/")),
    ("Spread of the embeddings", "1 = even, 0 = collapsed", "zero", ("collapse/std",)),
    ("Rank of the embeddings", "directions in use", "zero", ("collapse/rank", "collapse/rankme")),
    ("Speed", "images/s", "zero", ("time/images_per_second",)),
    ("Time of a step", "s", "zero", ("time/step", "time/data_wait")),
    ("Memory", "MiB", "zero", ("time/peak_memory_mib",)),
)  # fmt: skip

#: Short names where the metric's own would be long.
_NAMES = {
    "train/loss": "training", "val/loss": "validation", "knn/top1": "kNN",
    "probe/val_top1": "probe, test", "probe/top1": "probe, training", "train/lr": "lr",
    "collapse/std": "spread", "collapse/rank": "effective rank", "collapse/rankme": "RankMe",
    "time/images_per_second": "images/s", "time/step": "whole step",
    "time/data_wait": "waiting for data", "time/peak_memory_mib": "peak",
}  # fmt: skip


@dataclass(frozen=True)
class Series:
    """One metric: steps, ascending, and values; NaN where the run logged no finite number."""

    steps: np.ndarray
    values: np.ndarray

    @property
    def finite(self) -> np.ndarray:
        """The finite values."""
        kept: np.ndarray = self.values[np.isfinite(self.values)]
        return kept

    def last(self) -> float | None:
        """The newest finite value."""
        return float(self.finite[-1]) if len(self.finite) else None


def read_series(folder: Path) -> dict[str, Series]:
    """Read every metric of a run; a torn last line is left out. No file gives no series."""
    path = folder / "metrics.jsonl"
    found: dict[str, list[tuple[int, float]]] = {}
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = _row(line)
            for name, value in row.items():
                if name not in ("step", "epoch") and isinstance(value, int | float | None):
                    number = math.nan if value is None else float(value)
                    found.setdefault(name, []).append((int(row.get("step") or 0), number))
    return {name: _series(points) for name, points in found.items()}


def _row(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _series(points: list[tuple[int, float]]) -> Series:
    kept = dict(points)  # a step that is logged twice: the later row counts
    steps = sorted(kept)
    return Series(np.array(steps), np.array([kept[step] for step in steps]))


def panels(series: Mapping[str, Series]) -> list[Facts]:
    """The curves of one run, by panel; panels without any are left out."""
    found = []
    for title, unit, axis, names in PANELS:
        members = [name for name in series if name.startswith(names)]
        members = [name for name in members if "top5" not in name and len(series[name].finite)]
        members.sort(key=lambda name: next(i for i, n in enumerate(names) if name.startswith(n)))
        if members:
            curves = [{"name": _NAMES.get(n, n), "metric": n, **thin(series[n])} for n in members]
            found.append({"title": title, "unit": unit, "axis": axis, "curves": curves})
    return found


def thin(series: Series, points: int = POINTS) -> Facts:
    """Steps and values of at most ``points`` stretches, with their lowest and highest value."""
    keep = np.isfinite(series.values)
    steps, values = series.steps[keep], series.values[keep]
    if len(values) <= points:
        return {"x": steps.tolist(), "y": _rounded(values)}
    edges = np.linspace(0, len(values), points + 1).astype(int)
    cuts = [values[a:b] for a, b in pairwise(edges)]
    return {
        "x": steps[edges[1:] - 1].tolist(),
        "y": _rounded([cut.mean() for cut in cuts]),
        "low": _rounded([cut.min() for cut in cuts]),
        "high": _rounded([cut.max() for cut in cuts]),
    }


def _rounded(values: Any) -> list[float]:
    return [float(f"{value:.5g}") for value in values]
