"""The walk of eval: what is evaluated where weights, or only features, are there."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from sslight import run
from sslight.errors import RefusedRunError

CONFIG = {
    "backbone": {"name": "resnet18", "stem": "small", "width": 2},
    "data": {
        "train": {"name": "shapes", "num_images": 20, "size": 8},
        "test": {"name": "shapes", "num_images": 10, "size": 8},
        "views": {"name": "simclr", "size": 8},
        "batch_size": 4,
        "workers": 0,
    },
    "trainer": {"accelerator": "cpu"},
    "eval": {"knn": {"k": [5]}},
}


def evaluate(folder: Path, *overrides: str) -> dict[str, float]:
    return run.evaluate(CONFIG, (), [f"run_dir={folder}", *overrides]).metrics


def test_missing_features_are_extracted(tmp_path):
    metrics = evaluate(tmp_path, "init=random")
    assert (tmp_path / "features" / "manifest.json").is_file()
    kept = json.loads((tmp_path / "eval" / "knn.json").read_text())
    assert metrics["knn/k5/top1"] == kept["metrics"]["k5/top1"]


def test_features_made_before_need_no_weights(tmp_path, caplog):
    """``extract init=...`` and then ``eval`` without it: the store is there, and says of what."""
    caplog.set_level(logging.INFO, logger="sslight")
    run.extract(CONFIG, [f"run_dir={tmp_path}", "init=random"])
    assert evaluate(tmp_path) == evaluate(tmp_path, "init=random")
    assert any("features" in m and "resnet18 (init: random)" in m for m in caplog.messages)


def test_neither_weights_nor_features(tmp_path):
    with pytest.raises(RefusedRunError, match=r"no trained backbone.*init=random"):
        evaluate(tmp_path)
