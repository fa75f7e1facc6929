"""What eval can be pointed at becomes a config."""

from __future__ import annotations

import pytest
import tiny
import torch

from sslight import config as configs
from sslight.checkpoints import save_backbone
from sslight.errors import RefusedRunError
from sslight.run.subjects import composed, is_store, label_of, variant

MAIN = {
    "backbone": {"name": "resnet18"},
    "init": "mine.pth",
    "run_dir": "here",
    "data": {"train": {"name": "fake"}, "views": {"name": "simclr"}, "batch_size": 4},
    "extract": {"layers": ["res5"], "checkpoint": "old.ckpt", "out": "elsewhere"},
    "eval": {"knn": {"k": 5}},
}


@pytest.fixture
def weights(tmp_path):
    save_backbone(tiny.resnet(), tmp_path / "net.safetensors")
    torch.save(tiny.resnet().state_dict(), tmp_path / "theirs.pth")
    return tmp_path


def test_a_file_of_ours_needs_no_config(weights):
    found = composed(weights / "net.safetensors", ["data={train: fake}"])
    assert found["extract"]["checkpoint"] == str(weights / "net.safetensors")
    assert found["data"] == {"train": "fake"} or found["data"]["train"]["name"] == "fake"
    assert found.name == "net"


def test_another_librarys_file_needs_a_backbone(weights):
    found = composed(weights / "theirs.pth", ["backbone=resnet18"])
    assert found["init"] == str(weights / "theirs.pth")
    assert "extract" not in found


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RefusedRunError, match="there is no file"):
        composed(tmp_path / "absent.ckpt", [])


def test_a_checkpoint_brings_the_config_of_its_training(tmp_path):
    config = '{"data": {"batch_size": 9}, "callbacks": {"x": {}}, "init": "a", "run_dir": "b"}'
    torch.save({"sslight": {"config": config}, "state_dict": {}}, tmp_path / "step_7.ckpt")
    found = composed(tmp_path / "step_7.ckpt", ["data.workers=0"])
    assert found["data"] == {"batch_size": 9, "workers": 0}
    assert set(found) == {"data", "extract"}


def test_overrides_alone_are_a_config():
    found = composed(None, ["backbone=resnet18", "init=random"])
    assert found["backbone"] == {"name": "resnet18"}
    assert found.name == "resnet18_random"


def test_others_take_data_and_protocols_of_the_main_config(weights):
    file = str(weights / "net.safetensors")
    found = variant(file, MAIN)
    assert found["extract"] == {"layers": ["res5"], "checkpoint": file, "out": None}
    assert found["data"] == {"train": {"name": "fake"}, "batch_size": 4}  # views are its own
    assert found["eval"] == MAIN["eval"]
    assert not {"init", "run_dir", "backbone"} & set(found)
    theirs = variant(str(weights / "theirs.pth"), MAIN)
    assert (theirs["backbone"], theirs["init"]) == (MAIN["backbone"], str(weights / "theirs.pth"))
    assert variant(str(weights), MAIN)["extract"]["checkpoint"] == str(weights)


def test_names_and_baselines():
    assert variant("resnet50", MAIN)["backbone"] == {"name": "resnet50", "weights": "DEFAULT"}
    assert variant("timm/vit_x", MAIN)["backbone"] == {"name": "timm/vit_x", "pretrained": True}
    random, pixels = variant("random", MAIN), variant("pixels", MAIN)
    assert (random["backbone"], random["init"]) == (MAIN["backbone"], "random")
    assert pixels["backbone"] == {"name": "pixels"}
    assert random["data"] == pixels["data"] == MAIN["data"]
    with pytest.raises(RefusedRunError, match="no file, run folder or backbone 'resnet81'"):
        variant("resnet81", MAIN)


def test_names_fit_for_folders(weights):
    run = weights / "myrun"
    (run / "checkpoints").mkdir(parents=True)
    (run / "features").mkdir()
    for file in ("config.yaml", "checkpoints/step_3.ckpt", "features/manifest.json"):
        (run / file).touch()
    (run / "backbone.safetensors").touch()
    names = [label_of(run / part) for part in ("", "checkpoints/step_3.ckpt", "features")]
    assert names == ["myrun", "myrun_step_3", "myrun"]
    assert label_of(run / "backbone.safetensors") == "myrun"
    assert label_of(weights / "theirs.pth") == "theirs"
    assert label_of("timm/vit_x") == "timm_vit_x"
    assert is_store(run / "features")
    assert not is_store(run)
    assert not is_store(MAIN)


def test_configs_stay_configs(tmp_path):
    assert composed(MAIN, ["data.batch_size=8"])["data"]["batch_size"] == 8
    (tmp_path / "my.yaml").write_text("seed: 3\n")
    assert composed(tmp_path / "my.yaml", []) == configs.load(tmp_path / "my.yaml")
