"""Protocols that train through images: a run of its own that goes on, ends once, starts anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from unit.run.test_evaluate import CONFIG

from sslight import load_backbone, run
from sslight.methods.supervised import Supervised

LINEAR = {
    "heads": {"res4": "avg2+bn", "embedding": "none"},
    "epochs": 3,
    "batch_size": 4,
    "lr": 1.0,
}


def evaluate(folder: Path, *overrides: str):
    config = {**CONFIG, "eval": {"linear_images": LINEAR}}
    return run.evaluate(config, (), [f"run_dir={folder}", "init=random", *overrides])


def only_run(folder: Path) -> Path:
    (found,) = (folder / "eval").glob("linear_images-*")
    return found


def test_it_is_a_run_with_checkpoints_and_the_backbone_as_it_was(tmp_path):
    (result,) = evaluate(tmp_path)
    fit = only_run(tmp_path)
    assert set(result.metrics) == {f"{h}/top{k}" for h in ("res4", "embedding") for k in (1, 5)}
    assert (fit / "metrics.jsonl").is_file()
    kept = torch.load(*(fit / "checkpoints").glob("*.ckpt"), weights_only=True)["state_dict"]
    other = run.extract({**CONFIG, "init": "random"}, [f"run_dir={tmp_path / 'x'}"])
    trained = load_backbone(fit).backbone.state_dict()
    assert other is not None
    for name, value in trained.items():
        torch.testing.assert_close(value, kept[f"backbone.{name}"])
    assert (
        other.manifest.weights["sha256"]
        == json.loads((fit / "backbone.json").read_text())["sha256"]
    )  # nothing moved, batch norm's statistics included


def test_a_stopped_one_goes_on_and_a_finished_one_is_read(tmp_path, monkeypatch):
    straight = evaluate(tmp_path / "straight").metrics
    original, calls = Supervised.training_loss, []

    def fails_in_the_second_epoch(self, batch):
        calls.append(len(batch["index"]))
        if len(calls) == 8:
            raise KeyError("the power is gone")
        return original(self, batch)

    monkeypatch.setattr(Supervised, "training_loss", fails_in_the_second_epoch)
    with pytest.raises(KeyError):
        evaluate(tmp_path / "killed")
    assert len(calls) == 8
    assert evaluate(tmp_path / "killed").metrics == straight
    assert len(calls) == 8 + 10  # an epoch has 5 steps, and the first was not done again
    assert evaluate(tmp_path / "killed").metrics == straight
    assert len(calls) == 18
    (only_run(tmp_path / "killed") / "figures.json").unlink()  # killed just before the end
    assert evaluate(tmp_path / "killed").metrics == straight
    assert len(calls) == 18


def test_other_settings_and_weights_begin_anew(tmp_path):
    folders = set()
    for overrides in ([], ["eval.linear_images.epochs=1"], ["extract.out=other", "seed=1"]):
        places = [word.replace("other", str(tmp_path / "other")) for word in overrides]
        evaluate(tmp_path, *places)
        folders |= set((tmp_path / "eval").glob("linear_images-*"))
    assert len(folders) == 3
