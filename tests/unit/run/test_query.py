"""Images to the stored images most like them, from Python and from the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

import sslight
from sslight import cli
from sslight.checkpoints import save_backbone
from sslight.data.sources.folder import Folder
from sslight.errors import RefusedRunError
from sslight.features import load_features
from sslight.features.extract import ExtractOptions, extract_features

CLASSES = ("bird", "cat")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder: a backbone, and a store of twelve images."""
    folder = tmp_path_factory.mktemp("run")
    generator = np.random.default_rng(0)
    for number in range(12):
        path = folder / "images" / CLASSES[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    torch.manual_seed(0)
    network = sslight.backbone("resnet10", stem="small", width=8)
    data = sslight.SSLDataModule(
        train=Folder(folder / "images"),
        views=sslight.views("simclr", 16).specs,
        batch_size=4,
        workers=0,
    )
    options = ExtractOptions(layers={"embedding": "none", "res4": "avg"})
    extract_features(network, data, options, folder / "features", meta={"source": "lost"})
    save_backbone(network, folder / "backbone", view=data.clean_view())
    return folder


def image(run, number):
    return run / "images" / CLASSES[number % 2] / f"{number:02}.png"


@pytest.mark.parametrize("layer", [None, "res4"])
def test_stored_images_find_themselves(run, layer):
    paths = [image(run, 3), image(run, 8)]
    found = sslight.query(run, paths, k=4, layer=layer)
    assert found.queries == [str(path) for path in paths]
    for path, matches in zip(paths, found.matches, strict=True):
        assert matches[0].id.endswith(f"{path.parent.name}/{path.name}")
        assert matches[0].similarity == pytest.approx(1, abs=1e-5)
        assert matches[0].class_name == path.parent.name
        assert len(matches) == 4


def test_pictures_and_features_are_asked_alike(run):
    by_path = sslight.query(run, image(run, 5), k=3)[0]
    by_picture = sslight.query(run, Image.open(image(run, 5)), k=3)[0]
    split = load_features(run)["train"]
    by_row = sslight.query(split, split.array()[by_path[0].row], k=3)[0]
    assert [m.row for m in by_path] == [m.row for m in by_picture] == [m.row for m in by_row]


def test_a_store_alone_needs_its_backbone_named(run, tmp_path):
    (tmp_path / "features").symlink_to(run / "features")
    alone = tmp_path / "features"
    with pytest.raises(RefusedRunError, match=r"made by lost, which is not found.*--backbone"):
        sslight.query(alone, image(run, 1))
    named = sslight.query(alone, image(run, 1), backbone=run / "backbone.safetensors")
    assert named[0][0].similarity == pytest.approx(1, abs=1e-5)


def test_another_backbone_is_refused(run, tmp_path):
    torch.manual_seed(1)
    save_backbone(sslight.backbone("resnet10", stem="small", width=8), tmp_path / "other")
    with pytest.raises(RefusedRunError, match="has other weights"):
        sslight.query(run, image(run, 1), backbone=tmp_path / "other.safetensors")


def test_wrong_names_and_numbers(run):
    with pytest.raises(RefusedRunError, match=r"no split 'trian'.*Did you mean 'train'"):
        sslight.query(run, image(run, 1), splits=["trian"])
    with pytest.raises(RefusedRunError, match="no layer 'res9'"):
        sslight.query(run, image(run, 1), layer="res9")
    with pytest.raises(RefusedRunError, match="features are floats"):
        sslight.query(run, np.zeros((2, 64), dtype=np.int64))
    with pytest.raises(RefusedRunError, match="No such file"):
        sslight.query(run, run / "none.png")


def test_the_command_prints_tables_and_json(run, capsys):
    words = ["query", "--features", str(run), "--image", str(image(run, 4)), str(image(run, 9))]
    assert cli.main([*words, "-k", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(image(run, 4))
    assert lines[1].split() == ["rank", "similarity", "label", "split", "image"]
    assert lines[2].split()[:4] == ["1", "1.0000", "bird", "train"]
    assert cli.main([*words, "-k", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [len(each["matches"]) for each in told] == [2, 2]
    assert cli.main([*words, "--config", "a", "--backbone", "b"]) == 2


def test_the_command_writes_features(run, tmp_path, capsys):
    assert cli.main(["features", "--config", str(run)]) == 0
    assert "split train: 12 images, 2 classes" in capsys.readouterr().out
    out = tmp_path / "tables"
    words = ["features", "--config", str(run), "--to", "csv", "--out", str(out)]
    assert cli.main([*words, "--layer", "res4"]) == 0
    assert capsys.readouterr().out.split() == [str(out / "train.csv")]
    assert len((out / "train.csv").read_text().splitlines()) == 13
    assert cli.main([*words, "--layer", "res9"]) == 2
    assert "no layer 'res9'" in capsys.readouterr().err
