"""A split as CSV and npz; data frames and Parquet are in test_features.py."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from unit.features.fake_data import FakeData, network

from sslight.features import tables
from sslight.features.extract import ExtractOptions, extract_features


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    data = FakeData({"train": 23}, bad=[4])
    options = ExtractOptions(layers={"embedding": "none", "res3": "none"})
    return extract_features(network(), data, options, tmp_path_factory.mktemp("s"))["train"]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(tables, "_ROWS", 7)


def test_csv_has_a_column_per_number(split, tmp_path):
    with open(split.csv(tmp_path / "x.csv", ["embedding"]), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == split.ids[:]
    assert [int(row["label"]) for row in rows] == split.labels.tolist()
    assert [row["class"] for row in rows] == [split.classes[k] for k in split.labels]
    assert [row["ok"] == "True" for row in rows] == split.ok.tolist()
    numbers = [[float(row[f"embedding.{i}"]) for i in range(64)] for row in rows]
    np.testing.assert_array_equal(np.array(numbers, np.float32), split.array("embedding"))
    assert not list(tmp_path.glob("*.tmp"))


def test_npz_is_numpys(split, tmp_path):
    with np.load(split.npz(tmp_path / "x.npz"), allow_pickle=False) as found:
        assert set(found) == {"embedding", "res3", "labels", "ids", "ok"}
        for layer in split.layers:
            np.testing.assert_array_equal(found[layer], split.array(layer))
        assert found["ids"].tolist() == split.ids[:]
        np.testing.assert_array_equal(found["labels"], split.labels)
        np.testing.assert_array_equal(found["ok"], split.ok)


def test_several_labels_and_none(split, monkeypatch):
    several = np.eye(23, 2, dtype=np.int64)
    monkeypatch.setitem(split.__dict__, "labels", several)
    assert list(tables._labels(split, slice(0, 3))) == ["label_0", "label_1"]
    monkeypatch.setitem(split.__dict__, "labels", None)
    assert tables._labels(split, slice(0, 3)) == {}


def test_unlabelled_images_have_no_class(split, monkeypatch):
    monkeypatch.setitem(split.__dict__, "labels", np.array([0, -1, 2]))
    assert tables._labels(split, slice(0, 3))["class"] == ["a", "", "c"]
