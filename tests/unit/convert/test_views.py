"""Transforms: VISSL's recipes give the presets that the methods have here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sslight.augment import ViewSpec
from sslight.augment.presets import PRESETS
from sslight.config.parse import parse
from sslight.convert.views import views_of
from sslight.convert.vissl_tree import VisslTree

VISSL = Path(__file__).parent / "vissl"


def tree_of(steps: list[dict[str, Any]]) -> VisslTree:
    return VisslTree({"MODEL": {}, "DATA": {"TRAIN": {"TRANSFORMS": steps}}})


def specs(found: list[dict[str, Any]]) -> list[ViewSpec]:
    made = [{k: tuple(v) if isinstance(v, list) else v for k, v in one.items()} for one in found]
    return [ViewSpec(**one) for one in made]


@pytest.mark.parametrize(
    ("recipe", "preset"),
    [
        ("simclr", PRESETS["simclr"]()),
        ("swav", PRESETS["swav"]()),
        ("moco_v2", PRESETS["moco"](scale=(0.08, 1.0))),
        ("dino", PRESETS["dino"](interpolation="bilinear", strength=1.0)),
        ("deepcluster_v2", PRESETS["swav"](local_count=0, scale=(0.08, 1.0))),
        ("npid", PRESETS["npid"](scale=(0.08, 1.0), grey=0.0)),
    ],
)
def test_recipes_give_the_presets(recipe, preset):
    tree = VisslTree(parse((VISSL / f"{recipe}.yaml").read_text(), recipe).tree)
    found = specs(views_of(tree, recipe))
    if recipe == "dino":  # VISSL's distortion of strength 0.5 has saturation 0.4, the paper 0.2
        preset = [ViewSpec(**{**vars(view), "saturation": 0.4}) for view in preset]
    assert found == list(preset)
    assert tree.notes == []


def test_indices_choose_views():
    steps = [{"name": "ImgReplicatePil", "num_times": 2}, {"name": "RandomResizedCrop", "size": 64}]
    steps += [{"name": "RandomGrayscale", "p": 0.3, "indices": [1]}]
    first, second = views_of(tree_of(steps), "simclr")
    assert "grey" not in first
    assert second["grey"] == 0.3


def test_an_unknown_transform_is_told():
    tree = tree_of([{"name": "RandAugment", "magnitude": 9}])
    views_of(tree, "simclr")
    assert [note.key for note in tree.notes] == ["DATA.TRAIN.TRANSFORMS.RandAugment"]


def test_without_transforms_the_method_decides():
    assert views_of(tree_of([]), "simclr") is None


def test_patches():
    tree = VisslTree(parse((VISSL / "pirl.yaml").read_text(), "pirl").tree)
    found = views_of(tree, "pirl")
    assert (found["name"], found["size"], found["patches_size"]) == ("pirl", 224, 255)
    assert found["photometric"] == 0.66
    assert tree.notes == []
