"""The walk of extract: what the log says, and what is refused before an image is read."""

from __future__ import annotations

import pytest

from sslight import config, run
from sslight.backbones.inputs import input_of
from sslight.checkpoints import weights_digest
from sslight.errors import RefusedRunError
from sslight.run.assemble import build_method
from sslight.run.extract import prepare

CONFIG = {
    "backbone": {"name": "resnet18", "stem": "small", "width": 2},
    "data": {
        "train": {"name": "fake", "num_images": 8, "size": 8},
        "views": {"name": "simclr", "size": 8},
        "batch_size": 4,
        "workers": 0,
    },
    "init": "random",
    "trainer": {"accelerator": "cpu"},
}


def extract(folder, *overrides):
    return run.extract(CONFIG, [f"run_dir={folder}", *overrides])


def test_what_is_said_is_in_the_log(tmp_path):
    extract(tmp_path)
    extract(tmp_path)
    log = (tmp_path / "log.txt").read_text()
    assert "resnet18 with random weights" in log
    assert "train: 8 of 8 rows are there already." in log
    assert f"are in {tmp_path / 'features'}." in log


def test_other_weights_do_not_mix(tmp_path):
    extract(tmp_path)
    with pytest.raises(RefusedRunError, match=r"(?s)something else.*weights.*extract.out"):
        extract(tmp_path, "seed=1")
    with pytest.raises(RefusedRunError, match=r"(?s)something else.*backbone"):
        extract(tmp_path, "backbone=pixels")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("extract.layers=[res9]", "no layer 'res9'"),
        ("extract.splits=[val]", "no split 'val'"),
        ("extract.batch_size=0", "batch_size is 0"),
        ("extract.checkpoint=/no/such.ckpt", "no run folder or file"),
        ("init=null", "no trained backbone"),
    ],
)
def test_mistakes_leave_no_store(tmp_path, override, message):
    with pytest.raises(RefusedRunError, match=message):
        extract(tmp_path / "run", override)
    assert not (tmp_path / "run" / "features" / "manifest.json").exists()


@pytest.mark.parametrize("name", [c for c in config.shipped() if c.endswith("/shapes")])
def test_random_weights_are_those_that_the_method_evaluates(name, tmp_path):
    composed = config.compose(name, ["init=random", f"run_dir={tmp_path}"])
    found = prepare(composed, name, None, None, ()).backbone
    method = build_method(composed, ()).eval_backbone
    assert input_of(found) == input_of(method)
    assert weights_digest(found.state_dict()) == weights_digest(method.state_dict())


def test_raw_pixels_need_no_method(tmp_path):
    words = ["backbone={name: pixels}", "init=random", f"run_dir={tmp_path}"]
    composed = config.compose("mae/shapes", words)
    assert not list(prepare(composed, "mae", None, None, ()).backbone.parameters())
