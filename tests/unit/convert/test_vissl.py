"""Whole files, written after VISSL's own recipes: what comes out passes, and nothing is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sslight import config
from sslight.config.parse import parse
from sslight.convert import Conversion, NotVisslError, convert

FILES = sorted((Path(__file__).parent / "vissl").glob("*.yaml"))


def read(name: str) -> dict[str, Any]:
    path = Path(__file__).parent / "vissl" / f"{name}.yaml"
    return parse(path.read_text(), str(path)).tree


def problems(conversion: Conversion, tmp_path: Path) -> list[str]:
    """What ``sslight check`` says of the result, with its blanks filled in."""
    path = tmp_path / "converted.yaml"
    config.save(conversion.config, path)
    composed = config.load(path)
    blanks = [key for key, value in config.flatten(composed).items() if value == "???"]
    filled = config.compose(composed, [f"{key}=photos" for key in blanks])
    return [str(problem) for problem in config.check(filled, "fit")]


def told(conversion: Conversion) -> dict[str, str]:
    return {note.key: note.text for note in conversion.notes}


def test_the_main_recipes_are_there():
    named = {"simclr", "swav", "moco_v2", "dino", "barlow_twins", "deepcluster_v2", "npid"}
    assert {path.stem for path in FILES} >= named | {"pirl", "jigsaw", "rotnet", "supervised"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recipe_becomes_a_config_that_passes(path, tmp_path):
    found = convert(read(path.stem))
    assert problems(found, tmp_path) == []
    assert found.config["method"]["name"] == path.stem
    assert "???" not in str({k: v for k, v in found.config.items() if k != "data"})


def test_the_check_would_find_a_wrong_key(tmp_path):
    found = convert(read("simclr"))
    found.config["method"]["temprature"] = 1
    assert len(problems(found, tmp_path)) == 1


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_key_is_carried_over_or_told(path):
    """A key that the converter cannot know is told, wherever it stands."""
    tree = read(path.stem)
    for section in ("MODEL", "OPTIMIZER", "DATA", "CHECKPOINT"):
        tree["config"][section]["INVENTED"] = 7
    keys = [key for key in told(convert(tree)) if key.endswith("INVENTED")]
    assert len(keys) == 4


def test_swav():
    method = convert(read("swav")).config["method"]
    assert method == {
        "name": "swav",
        "hidden_dim": 2048,
        "out_dim": 128,
        "bn": True,
        "num_prototypes": 3000,
        "code_crops": 2,
        "queue_start": 15.0,  # iteration 4680 of 312 an epoch
        "temperature": 0.1,
        "epsilon": 0.05,
        "sinkhorn_iterations": 3,
        "queue_size": 3840,
    }


def test_dino():
    found = convert(read("dino")).config
    assert found["backbone"] == {"name": "vit_s_16", "drop_path": 0.1}
    assert found["method"]["teacher_temperature"]["epochs"] == 30.0
    assert found["method"]["norm_last_layer"] is False
    assert found["optim"]["weight_decay"]["end"] == 0.4
    assert found["optim"]["groups"] == [{"pattern": "^head.last_layer", "freeze_steps": 1251}]
    assert found["trainer"]["gradient_clip_val"] == 0.3
    assert [view.get("count", 1) for view in found["data"]["views"]] == [1, 1, 8]


def test_the_size_of_a_run():
    found = convert(read("simclr")).config
    assert found["data"]["batch_size"] == 64 * 8 * 8
    trainer = found["trainer"]
    assert (trainer["devices"], trainer["num_nodes"], trainer["sync_batchnorm"]) == (8, 8, 8)


def test_splits():
    found = convert(read("supervised")).config["data"]
    assert found["train"] == {"name": "folder", "root": "imagenet/train"}
    assert found["test"]["labels"] == "lists/val_labels.npy"
    assert found["eval_view"]["resize"] == 256
    assert "test" not in convert(read("simclr")).config["data"]


def test_test_only(tmp_path):
    tree = read("supervised")
    tree["config"]["TEST_ONLY"] = True
    found = convert(tree)
    assert "train" not in found.config["data"]
    assert "sslight eval" in told(found)["TEST_ONLY"]
    assert problems(found, tmp_path) == []


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("DISTRIBUTED.INIT_METHOD", "file", "torchrun"),
        ("DATA.TRAIN.USE_STATEFUL_DISTRIBUTED_SAMPLER", True, "function of seed, epoch and batch"),
        ("DATA.TRAIN.TRAIN_PHASES_PER_EPOCH", 4, "no phases"),
        ("MODEL.AMP_PARAMS", {"USE_AMP": True, "AMP_ARGS": {"opt_level": "O2"}}, "16-mixed"),
        ("MODEL.WEIGHTS_INIT", {"PARAMS_FILE": "a.torch", "REMOVE_PREFIX": "x."}, "prefixes"),
        ("CHECKPOINT.OVERWRITE_EXISTING", True, "nothing is ever overwritten"),
        ("MODEL.ACTIVATION_CHECKPOINTING.USE_ACTIVATION_CHECKPOINTING", True, "checkpoint_blocks"),
    ],
)
def test_what_has_no_counterpart_is_told(key, value, said):
    tree = read("simclr")
    node = tree["config"]
    *parents, last = key.split(".")
    for parent in parents:
        node = node.setdefault(parent, {})
    node[last] = value
    assert any(said in text for text in told(convert(tree)).values())


def test_strategies_and_precision():
    tree = read("simclr")
    tree["config"]["DISTRIBUTED"]["MANUAL_GRADIENT_REDUCTION"] = "True"
    tree["config"]["MODEL"]["AMP_PARAMS"] = {"USE_AMP": True, "AMP_TYPE": "pytorch"}
    found = convert(tree)
    assert found.config["trainer"]["strategy"] == "manual"
    assert found.config["trainer"]["precision"] == "16-mixed"
    tree["config"]["TRAINER"] = {"TASK_NAME": "self_supervision_fsdp_task"}
    assert convert(tree).config["trainer"]["strategy"] == "model_parallel"


def test_a_composed_file_has_no_config_at_its_root():
    tree = read("moco_v2")
    assert convert(tree["config"]).config == convert(tree).config


def test_hydras_list_is_told_as_not_read():
    assert "train_config.yaml" in told(convert({"defaults": ["x"], **read("moco_v2")}))["defaults"]


def test_an_unknown_loss_leaves_the_method_open():
    tree = read("simclr")
    tree["config"]["LOSS"] = {"name": "my_loss", "my_loss": {"margin": 0.3}}
    found = convert(tree)
    assert found.config["method"] == {"name": "???"}
    assert {"LOSS.name", "LOSS.my_loss.margin"} <= set(told(found))


@pytest.mark.parametrize(
    ("tree", "said"),
    [({"a": 1}, "neither MODEL nor OPTIMIZER"), ({"method": 1, "backbone": 1}, "already")],
)
def test_other_files_are_refused(tree, said):
    with pytest.raises(NotVisslError, match=said):
        convert(tree)
