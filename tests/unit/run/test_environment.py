from __future__ import annotations

import json
import subprocess
from types import SimpleNamespace

import torch

from sslight.data.datamodule import SSLDataModule
from sslight.data.sources.shapes import Shapes
from sslight.run.environment import git, note_start, versions

TRAINER = SimpleNamespace(
    strategy=SimpleNamespace(root_device=torch.device("cpu")), world_size=2, precision="32-true"
)


def test_every_start_is_noted_and_the_first_one_stays(tmp_path):
    data = SSLDataModule(train=Shapes(20, size=8), batch_size=4)
    for number in range(25):
        note_start(tmp_path, f"fit --x {number} hub.token=hunter2", TRAINER, data, 40)
    found = json.loads((tmp_path / "environment.json").read_text())
    commands = [start["command"] for start in found["starts"]]
    assert commands[0].startswith("fit --x 0 ")
    assert commands[-1].startswith("fit --x 24 ")
    assert len(commands) == 21
    assert "hunter2" not in str(found)
    assert found["starts"][0]["hardware"]["processes"] == 2
    assert found["total"] == 40
    assert found["data"]["train"] == {
        "images": 20,
        "source": "Shapes",
        "classes": 10,
        "labelled": 20,
        "smallest": 2,
        "largest": 2,
    }


def test_versions_name_what_is_installed():
    assert torch.__version__.startswith(versions()["torch"])
    assert "python" in versions()


def test_git_knows_the_commit_and_changes(tmp_path):
    assert git(tmp_path) == {}
    script = "git init -q . && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x"
    subprocess.run(script, shell=True, cwd=tmp_path, check=True)
    (tmp_path / "f").write_text("1")
    subprocess.run(["git", "add", "f"], cwd=tmp_path, check=True)
    found = git(tmp_path)
    assert len(found["commit"]) == 40
    assert found["changed"]
