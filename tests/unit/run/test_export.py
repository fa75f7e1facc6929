"""Exports of runs, checkpoints and modules; what the card learns of a run."""

from __future__ import annotations

import json

import pytest
import torch

import sslight
from sslight import cli
from sslight.checkpoints import load_backbone, save_backbone
from sslight.checkpoints.export._check import Check
from sslight.errors import RefusedRunError
from sslight.registry import UnknownNameError

CONFIG = """
method: {name: simclr}
backbone: {name: resnet10, stem: small, width: 8}
data:
  train: {name: shapes, num_images: 64, size: 16}
  views: {name: simclr, size: 16}
  batch_size: 8
"""


@pytest.fixture(autouse=True)
def _unchecked(monkeypatch):
    monkeypatch.setattr(
        "sslight.checkpoints.export._writing.check_files", lambda *a: Check(False, reason="test")
    )


@pytest.fixture
def network():
    torch.manual_seed(0)
    return sslight.backbone("resnet10", stem="small", width=8)


@pytest.fixture
def run(tmp_path, network):
    folder = tmp_path / "runs" / "x"
    (folder / "eval").mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG)
    save_backbone(
        network, folder / "backbone", {"step": 7}, view=sslight.views("eval", 16).specs[0]
    )
    result = {"protocol": "knn", "metrics": {"k20/top1": 0.25}, "n": 10}
    (folder / "eval" / "knn.json").write_text(json.dumps(result))
    return folder


def test_a_run_goes_to_its_own_folder_with_its_story(run, network):
    done = sslight.export(run, to="safetensors")
    assert done.folder == run / "export" / "safetensors"
    back = load_backbone(done.folder / "model.safetensors")
    torch.testing.assert_close(back.backbone.conv1.weight, network.conv1.weight)
    assert back.view.size == 16
    text = (done.folder / "README.md").read_text()
    for words in (
        "trained by simclr",
        "SimCLR (Chen et al.",
        "name: shapes",
        "stem: small",
        "0.25",
    ):
        assert words in text
    assert "Not checked: test" in str(done)


def test_files_and_modules_need_a_folder(run, network, tmp_path):
    with pytest.raises(RefusedRunError, match="--out"):
        sslight.export(network, to="safetensors")
    done = sslight.export(network, "safetensors", tmp_path / "a")
    assert "method is not recorded" in (done.folder / "README.md").read_text()
    beside = sslight.export(run / "backbone.safetensors", "safetensors")
    assert beside.folder == run / "export" / "safetensors"
    assert "SimCLR" in (beside.folder / "README.md").read_text()


def test_names_that_are_wrong(run, tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'torchvision'"):
        sslight.export(run, to="torchvison")
    with pytest.raises(RefusedRunError, match=r"Formats that it fits: .*safetensors"):
        sslight.export(run, to="torchvision")
    with pytest.raises(RefusedRunError, match="random weights"):
        sslight.export("resnet18", "safetensors", tmp_path / "a")


def test_the_command(run, tmp_path, capsys):
    assert cli.main(["export", "--config", str(run), "--to", "safetensors"]) == 0
    assert "model.safetensors" in capsys.readouterr().out
    out = tmp_path / "b"
    words = ["export", "--checkpoint", str(run / "backbone.safetensors"), "--to", "safetensors"]
    assert cli.main([*words, "--out", str(out)]) == 0
    assert (out / "transform.py").is_file()
    assert cli.main(["export", "--to", "safetensors"]) == 2
    assert cli.main([*words, "seed=1"]) == 2
    assert cli.main(["export", "--config", str(run), "--to", "vissl"]) == 2
    assert "VISSL has no trunk resnet10" in capsys.readouterr().err
