"""The config that comes out: short, right for every method, and it trains."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import sslight
from sslight import cli, config, registry
from sslight.config.parse import parse
from sslight.errors import RefusedRunError
from sslight.scaffold import draft, survey

#: Methods that need more than images: something to learn from that was trained before.
ASKED_FOR = {"distill": "method.teacher", "clusterfit": "init"}


@pytest.mark.parametrize("side", [24, 100])
def test_every_method_gets_a_short_and_right_config(images, side):
    images("photos/cat", 60, side=side)
    images("photos/dog", 60, side=side)
    seen = survey("photos", sample=4)
    methods = registry.names("method")
    assert len(methods) > 20
    for method in methods:
        if method in ASKED_FOR:
            with pytest.raises(RefusedRunError, match=ASKED_FOR[method]):
                draft(seen, method, gpu=False)
            continue
        for gpu in (False, True):
            text = draft(seen, method, gpu=gpu).text
            assert len(text.splitlines()) <= 25, text
            assert max(map(len, text.splitlines())) <= 110, text
            Path("my.yaml").write_text(text)
            assert config.check(config.load("my.yaml")) == [], text


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("shape", "splits"),
    [
        ({"photos": 10}, ["train"]),
        ({"photos/one": 10}, ["train"]),
        ({"photos/cat": 8, "photos/dog": 8}, ["train"]),
        ({"photos/cat": 55, "photos/dog": 50}, ["train", "test"]),  # enough to hold some out
        ({"photos/train/a": 8, "photos/train/b": 8, "photos/test/a": 4}, ["train", "test"]),
        ({"photos/train": 12, "photos/val": 4, "photos/test": 4}, ["train", "test", "val"]),
    ],
    ids=["flat", "one folder", "classes", "many", "train and test", "train, test and val"],
)
def test_the_config_of_any_folder_checks_and_trains(images, shape, splits, capsys):
    for folder, count in shape.items():
        images(folder, count)
    assert cli.main(["init", "photos", "--out", "my.yaml"]) == 0
    said = capsys.readouterr().out
    assert "sslight check --run --config my.yaml" in said
    assert cli.main(["check", "--config", "my.yaml"]) == 0
    quick = ["trainer.max_steps=2", "backbone.name=resnet10", "backbone.width=2", "data.workers=0"]
    quick += [
        "method.hidden_dim=8",
        "method.out_dim=4",
        "optim.warmup_epochs=0",
        "data.batch_size=4",
    ]
    quick += ["callbacks.checkpoint=null", "trainer.logger=false", "trainer.accelerator=cpu"]
    result = sslight.fit("my.yaml", quick)
    assert result.trainer.global_step == 2
    assert result.data.split_names == splits
    rows = {split: set(result.data.ids(split)[:]) for split in splits}
    if "test" in splits and "train" not in str(shape):
        assert not rows["train"] & rows["test"]
        assert len(rows["train"] | rows["test"]) == sum(shape.values())


def test_the_reasons_are_printed_with_their_sources(images, capsys):
    images("photos/cat", 60)
    images("photos/dog", 60)
    assert cli.main(["init", "photos", "--method", "moco_v2"]) == 0
    said = capsys.readouterr().out
    assert "Seen: 120 images of train (2 classes), colour, 24 px" in said
    assert "Recipe: moco_v2/cifar10_resnet18: MoCo on CIFAR-10" in said
    assert "method.queue_size = " in said
    assert "12 images are held out for testing" in said
    written = parse(Path("photos.yaml").read_text(), "photos.yaml").tree
    chosen = re.findall(r"^  ([\w.]+) = ", said, re.MULTILINE)
    flat = config.flatten(written)
    for key in chosen:
        assert key == "optim.lr" or any(f"{name}.".startswith(f"{key}.") for name in flat), key


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["init"], "required: DIR"),
        (["init", "photos", "--method", "simclrr"], "Did you mean 'simclr'?"),
        (["init", "photos", "--method", "distill"], "needs method.teacher"),
        (["init", "photos", "--out", "there.yaml"], "there.yaml is there already"),
        (["init", "photos", "--out", "x.json"], "must end in .yaml"),
        (["init", "photos", "--out", "no/such/x.yaml"], "there is no folder no/such"),
        (["init", "nowhere"], "nowhere does not exist"),
    ],
)
def test_mistakes_write_nothing(words, said, images, capsys):
    images("photos", 8)
    Path("there.yaml").write_text("seed: 1\n")
    assert cli.main(words) == 2
    assert said in capsys.readouterr().err
    assert sorted(path.name for path in Path().glob("*.yaml")) == ["there.yaml"]
    assert Path("there.yaml").read_text() == "seed: 1\n"
