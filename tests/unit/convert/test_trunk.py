from __future__ import annotations

from typing import Any

import pytest

from sslight import registry
from sslight.convert.trunk import ELSEWHERE, RESNETS, VIT_PATCHES, backbone_of
from sslight.convert.vissl_tree import VisslTree


def tree(**trunk: Any) -> VisslTree:
    return VisslTree({"MODEL": {"TRUNK": trunk}})


@pytest.mark.parametrize(
    ("trunk", "expected"),
    [
        ({"NAME": "resnet", "RESNETS": {"DEPTH": 101}}, {"name": "resnet101"}),
        (
            {"NAME": "resnet", "RESNETS": {"WIDTH_MULTIPLIER": 2}},
            {"name": "resnet50", "width": 128},
        ),
        (
            {"NAME": "resnet", "RESNETS": {"DEPTH": 101, "GROUPS": 32, "WIDTH_PER_GROUP": 8}},
            {"name": "resnext101_32x8d"},
        ),
        (
            {"NAME": "regnet", "REGNET": {"name": "RegNet_Y_16GF"}},
            {"name": "regnet_y_16gf"},
        ),
        (
            {"NAME": "efficientnet", "EFFICIENT_NETS": {"model_version": "efficientnet-b0"}},
            {"name": "efficientnet_b0"},
        ),
        (
            {"NAME": "vision_transformer", "VISION_TRANSFORMERS": {"PATCH_SIZE": 8}},
            {"name": "vit_b_16", "patch_size": 8},
        ),
        (
            {"NAME": "vision_transformer", "VISION_TRANSFORMERS": {"name": "vit_l_16"}},
            {"name": "vit_l_16"},
        ),
        (
            {
                "NAME": "vision_transformer",
                "VISION_TRANSFORMERS": {"DROPOUT_RATE": 0.1, "ATTENTION_DROPOUT_RATE": 0.2},
            },
            {"name": "vit_b_16", "dropout": 0.1, "attention_drop": 0.2},
        ),
    ],
)
def test_trunks(trunk, expected):
    found = tree(**trunk)
    assert backbone_of(found) == expected
    assert found.notes == []


@pytest.mark.parametrize("name", ["xcit", "beit", "unheard_of"])
def test_a_trunk_without_counterpart_is_told(name):
    found = tree(NAME=name)
    assert backbone_of(found)["name"] == "???"
    assert len(found.notes) == 1


def test_the_tables_name_backbones_that_there_are():
    known = registry.names("backbone")
    vits = {f"vit_{letter}_{patch}" for letter, patches in VIT_PATCHES.items() for patch in patches}
    ours = {name for name in ELSEWHERE.values() if not name.startswith("timm/")}
    assert {*RESNETS.values(), *vits, *ours} <= set(known)
