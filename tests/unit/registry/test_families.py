from __future__ import annotations

import pytest

from sslight.registry import FAMILIES, closest, did_you_mean, suggestion


def test_the_families_of_the_design():
    known = [
        "method",
        "backbone",
        "source",
        "views",
        "callback",
        "optimizer",
        "schedule",
        "train_step",
        "eval",
        "format",
    ]
    assert list(FAMILIES) == known


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("simclar", "simclr"),
        ("Linear-Probe", "linear_probe"),
        ("resnet_50", "resnet50"),
        ("zzz", None),
    ],
)
def test_closest(word, nearest):
    assert closest(word, ["simclr", "linear_probe", "resnet50", "byol"]) == nearest


def test_words():
    assert suggestion("simclar", ["simclr"]) == " Did you mean 'simclr'?"
    assert suggestion("zzz", ["simclr"]) == ""
    assert did_you_mean("b", ["a", "c"]) == " Known: a, c."
    assert did_you_mean("b", []) == ""
    assert did_you_mean("", [str(i) for i in range(30)]).endswith("23, ... (30 in all).")
