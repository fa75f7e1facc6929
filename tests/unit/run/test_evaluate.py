"""The walk of eval: what is evaluated where weights, or only features, are there."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

import sslight
from sslight import run
from sslight.augment.presets import PRESETS
from sslight.checkpoints import save_backbone
from sslight.errors import RefusedRunError
from sslight.features import load_features

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


def test_checkpoints_and_names_need_nothing_but_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = sslight.backbone("resnet18", stem="small", width=2)
    (view,) = PRESETS["eval"](size=8)
    save_backbone(net, tmp_path / "net.safetensors", view=view)
    data = ["data={train: {name: shapes, num_images: 20, size: 8}, workers: 0}",
            "data.test={name: shapes, num_images: 10, size: 8}", "eval.knn.k=5"]  # fmt: skip
    found = run.evaluate(tmp_path / "net.safetensors", ["knn"], data)
    assert load_features("runs/net").manifest.view["size"] == 8  # its own
    words = ["backbone={name: resnet18, stem: small, width: 2}", "init=net.safetensors", *data]
    assert run.evaluate(None, ["knn"], words).metrics == found.metrics
    assert Path("runs/resnet18_net/eval/knn.json").is_file()


def test_several_backbones_are_compared_on_the_same_images(tmp_path):
    net = sslight.backbone("resnet18", stem="small", width=3)
    (view,) = PRESETS["eval"](size=8)
    save_backbone(net, tmp_path / "other.safetensors", view=view)
    others = [tmp_path / "other.safetensors", "pixels", "random", "random"]
    results = run.evaluate(
        CONFIG, (), [f"run_dir={tmp_path / 'run'}", "init=random"], compare=others
    )
    assert list(results.compared) == ["run", "other", "pixels", "random", "random_2"]
    kept = json.loads((tmp_path / "run" / "eval" / "comparison.json").read_text())
    assert kept["random"]["metrics"] == results.metrics
    assert {tuple(told["metrics"]) for told in kept.values()} == {("knn/k5/top1", "knn/k5/top5")}
    store = load_features(tmp_path / "run" / "with" / "other")
    assert store["test"].array().shape == (10, 24)
    assert "pixels" in str(results)


def test_a_config_of_data_and_protocols_compares_others_only(tmp_path):
    parts = {key: value for key, value in CONFIG.items() if key != "backbone"}
    results = run.evaluate(parts, (), [f"run_dir={tmp_path}"], compare=["pixels"])
    assert list(results.compared) == ["pixels"]
    with pytest.raises(RefusedRunError, match="backbone: missing"):
        run.evaluate(parts, (), [f"run_dir={tmp_path}"])


def test_stores_are_compared_without_images(tmp_path):
    for seed in (0, 1):
        run.extract(CONFIG, [f"run_dir={tmp_path / str(seed)}", "init=random", f"seed={seed}"])
    stores = [tmp_path / str(seed) / "features" for seed in (0, 1)]
    results = run.evaluate(stores[0], ["knn"], compare=[stores[1]])
    assert len(results.compared) == 2
    with pytest.raises(RefusedRunError, match="no images to run it on"):
        run.evaluate(stores[0], ["knn"], compare=["pixels"])


def test_seeds_give_means_and_intervals(tmp_path):
    words = [f"run_dir={tmp_path}", "init=random", "eval.linear={epochs: 2, held_out: 0.5}"]
    results = run.evaluate(CONFIG, ["knn", "linear"], words, seeds=3)
    knn, linear = results
    row = next(row for row in linear.rows if row["figure"] == "top1")
    mean = sum(row[f"seed {seed}"] for seed in range(3)) / 3
    low, high = linear.intervals["top1"]
    assert low <= mean <= high
    assert linear.metrics["top1"] == pytest.approx(mean)
    assert "seed 0" not in knn.rows[0]  # nothing in it is drawn
    with pytest.raises(RefusedRunError, match="seeds is 0"):
        run.evaluate(CONFIG, (), seeds=0)


def test_a_protocol_under_two_names(tmp_path):
    words = [
        f"run_dir={tmp_path}",
        "init=random",
        "eval={a: {name: knn, k: 1}, b: {name: knn, k: 2}}",
    ]
    results = run.evaluate(CONFIG, ["a", "b"], words)
    assert set(results.metrics) == {f"{x}/top{k}" for x in ("a/k1", "b/k2") for k in (1, 5)}


def test_the_evaluated_view_is_a_clean_one(tmp_path):
    run.evaluate(CONFIG, (), [f"run_dir={tmp_path}", "init=random", "data.eval_view.size=8"])
    assert load_features(tmp_path).manifest.view["crop"] == "center"
