from __future__ import annotations

import json
import math

import numpy as np

from sslight.reports.curves import POINTS, Series, panels, read_series, thin


def test_rows_become_series(tmp_path):
    rows = [
        {"step": 1, "train/loss": 4.0},
        {"step": 2, "train/loss": None, "knn/top1": 0.5},
        {"step": 2, "train/loss": 3.0},
    ]
    text = "\n".join(map(json.dumps, rows))
    (tmp_path / "metrics.jsonl").write_text(text + '\n{"step": 3, "train/l')  # torn by a kill
    series = read_series(tmp_path)
    assert series["train/loss"].steps.tolist() == [1, 2]
    assert series["train/loss"].values.tolist() == [4.0, 3.0]
    assert [panel["title"] for panel in panels(series)] == ["Loss", "Accuracy of frozen features"]


def test_no_file_and_no_numbers(tmp_path):
    assert read_series(tmp_path) == {}
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "train/loss": null}\n')
    series = read_series(tmp_path)
    assert math.isnan(series["train/loss"].values[0])
    assert panels(series) == []


def test_a_long_curve_keeps_its_extremes_and_its_end():
    values = np.ones(10_000)
    values[5000] = 9.0
    thinned = thin(Series(np.arange(1, 10_001), values))
    assert len(thinned["x"]) == len(thinned["y"]) == POINTS
    assert max(thinned["high"]) == 9.0
    assert min(thinned["low"]) == 1.0
    assert thinned["x"][-1] == 10_000
