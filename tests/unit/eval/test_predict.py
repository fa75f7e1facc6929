"""The table of predictions, and what is said about it."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from unit.eval.test_knn_eval import clouds, write

from sslight.errors import RefusedRunError
from sslight.eval import Subject
from sslight.eval._probe import Probe
from sslight.eval.predict import Predict

QUICK = Probe(lr=[3.0], weight_decay=[0.0], epochs=20)


def read(path):
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def test_a_row_per_image_in_the_split_s_order(tmp_path):
    (x, y), (u, v) = clouds(200, 0), clouds(40, 1)
    v = v.copy()
    v[3] = -1
    store = write(tmp_path / "f", {"train": (x, y), "test": (u, v)}, bad=[5])
    result = Predict(top=2, probe=QUICK).evaluate(Subject(store))
    result.save(tmp_path / "eval" / "mine.json")
    rows = read(tmp_path / "eval" / "mine.csv")
    assert [row["path"] for row in rows] == [str(i) for i in range(40)]
    assert (rows[5]["ok"], rows[5]["class_1"], rows[3]["label"]) == ("False", "", "")
    known = [row for i, row in enumerate(rows) if i not in (3, 5)]
    right = np.mean([row["class_1"] == row["label"] for row in known])
    assert result.metrics["test/top1"] == pytest.approx(right)
    assert result.n == 39
    for row in known:
        assert row["class_1"] != row["class_2"]
        assert 1 >= float(row["confidence_1"]) >= float(row["confidence_2"]) > 0
    confidence = np.mean([float(r["confidence_1"]) for i, r in enumerate(rows) if i != 5])
    assert result.metrics["test/confidence"] == pytest.approx(confidence, rel=1e-4)
    kept = json.loads((tmp_path / "eval" / "mine.json").read_text())
    assert "images" not in kept
    assert not list((tmp_path / "eval").glob("*.tmp"))


def test_a_split_without_labels_is_predicted_too(tmp_path):
    train, (u, _) = clouds(100, 0), clouds(9, 1)
    store = write(tmp_path / "labels", {"train": train, "test": (u, None)})
    result = Predict(probe=QUICK).evaluate(Subject(store))
    assert set(result.metrics) == {"test/confidence"}


def test_several_labels_have_a_probability_each(tmp_path):
    (x, y), (u, v) = clouds(200, 0), clouds(40, 1)
    many, many_test = (np.stack([k == 0, k < 2, k > 2], 1).astype(np.int64) for k in (y, v))
    store = write(tmp_path / "f", {"train": (x, many), "test": (u, many_test)})
    result = Predict(top=3, probe=QUICK).evaluate(Subject(store))
    assert set(result.metrics) == {"test/confidence", "test/map"}
    result.save(tmp_path / "predict.json")
    rows = read(tmp_path / "predict.csv")
    sums = [sum(float(row[f"confidence_{i}"]) for i in (1, 2, 3)) for row in rows]
    assert np.std(sums) > 0.01  # no softmax
    assert {row["label"] for row in rows} <= {"", "0|1", "1", "2"}


def test_parquet_says_what_it_needs_before_time_is_spent(tmp_path):
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        store = write(tmp_path, {"train": clouds(20, 0), "test": clouds(9, 1)})
        with pytest.raises(RefusedRunError, match="pip install pyarrow"):
            Predict(format="parquet").evaluate(Subject(store))
        return
    store = write(tmp_path / "f", {"train": clouds(20, 0), "test": clouds(9, 1)}, bad=[2])
    Predict(format="parquet", probe=QUICK).evaluate(Subject(store)).save(tmp_path / "p.json")
    assert parquet.read_table(tmp_path / "p.parquet").num_rows == 9


def test_mistakes_are_refused():
    with pytest.raises(ValueError, match="from 1"):
        Predict(top=0)
