"""Every shipped config passes its check and builds its method. Discovered, never listed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from sslight import config
from sslight.run import assemble

REPOSITORY = Path(__file__).parents[2]
#: Folders of what is no whole config: bases, and evaluations of backbones named elsewhere.
PARTS = ("_base_", "eval")
CONFIGS = sorted((REPOSITORY / "configs").rglob("*.yaml"))


def missing(tree: Any, prefix: str = "") -> Iterator[str]:
    """Full keys of all ``???``."""
    pairs = enumerate(tree) if isinstance(tree, list) else tree.items()
    for key, value in pairs:
        if isinstance(value, dict | list):
            yield from missing(value, f"{prefix}{key}.")
        elif value == "???":
            yield f"{prefix}{key}"


def problems(path: Path) -> list[str]:
    composed = config.load(path)
    filled = [f"{key}=placeholder" for key in missing(composed)]
    if path.parent.name in PARTS:  # of a config; what is above it names the rest
        for part, node in (("method", "simclr"), ("backbone", "resnet18"), ("data.train", "fake")):
            section, _, key = part.partition(".")
            there = section in composed and (not key or key in composed[section])
            filled += [] if there else [f"{part}={{name: {node}}}"]
    return [str(problem) for problem in config.check(config.compose(composed, filled))]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.relative_to(REPOSITORY).as_posix())
def test_every_shipped_config_is_right(path: Path):
    assert problems(path) == []


def test_there_are_configs():
    assert len(CONFIGS) >= 2


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.relative_to(REPOSITORY).as_posix())
def test_every_method_builds_from_its_configs(path: Path):
    """Without memory for its weights; parts of configs have no method."""
    composed = config.load(path)
    if "method" not in composed:
        assert path.parent.name in PARTS
        return
    checked = config.checked(config.compose(composed, [f"{k}=none" for k in missing(composed)]))
    with torch.device("meta"):
        method = assemble.build_method(checked, ())
    assert type(method) is tiny.method_class(composed["method"]["name"])
    assert path.parent.name in (composed["method"]["name"], "configs"), path


def test_a_wrong_config_would_be_noticed(tmp_path: Path):
    path = tmp_path / "wrong.yaml"
    path.write_text(
        "_base_: [_base_/cifar10]\nmethod: {name: simclr, temprature: 1}\nbackbone: resnet18\n"
    )
    assert len(problems(path)) == 1
