"""The JSON Schema says what the check says, about every shipped config and about mistakes."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from sslight import config, registry
from sslight.config.parse import parse
from sslight.config.schema import schema, schema_text

REPOSITORY = Path(__file__).parents[3]
CONFIGS = sorted((REPOSITORY / "configs").rglob("*.yaml"))
COMMITTED = REPOSITORY / "configs" / "schema.json"


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    made = schema()
    Draft7Validator.check_schema(made)
    return Draft7Validator(made)


def as_read(tree: Any) -> Any:
    """A config as an editor reads it: sslight keeps ``1.0e-4`` as written until it knows better."""
    if isinstance(tree, dict):
        return {key: as_read(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [as_read(value) for value in tree]
    number = isinstance(tree, str) and re.fullmatch(r"-?\d[\d.]*(e[+-]?\d+)?", tree)
    return float(tree) if number else tree


def errors(validator: Draft7Validator, tree: Any) -> list[str]:
    tree = as_read(tree)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(tree)]


# ------------------------------------------------------------------ shipped configs


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.relative_to(REPOSITORY).as_posix())
def test_every_shipped_config_fits(path: Path, validator: Draft7Validator) -> None:
    """As written, and with all that it inherits."""
    assert errors(validator, parse(path.read_text(encoding="utf-8"), str(path)).tree) == []
    assert errors(validator, dict(config.load(path))) == []


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.relative_to(REPOSITORY).as_posix())
def test_every_shipped_config_names_the_schema(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    marker = "# yaml-language-server: $schema="
    assert first.startswith(marker), f"write {marker}... as the first line"
    assert (path.parent / first.removeprefix(marker)).resolve() == COMMITTED


def nodes(tree: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping of a config, with its key."""
    if isinstance(tree, dict):
        yield key, tree
        for name, value in tree.items():
            yield from nodes(value, f"{key}.{name}")
    elif isinstance(tree, list):
        for value in tree:
            yield from nodes(value, f"{key}.*")


#: Mappings whose keys are the user's, an optimizer's own, or layers.
FREE = (
    *(".callbacks", ".eval", ".optim.options", ".extract.layers", ".backbone.extra"),
    ".eval.linear_moco.heads",
)


@pytest.mark.parametrize("path", CONFIGS[::5], ids=lambda p: p.relative_to(REPOSITORY).as_posix())
def test_a_wrong_key_anywhere_does_not_fit(path: Path, validator: Draft7Validator) -> None:
    whole = dict(config.load(path))
    places = [key for key, _ in nodes(whole) if key not in FREE]
    assert places
    for place in places:
        wrong = copy.deepcopy(whole)
        next(node for key, node in nodes(wrong) if key == place)["no_such_key"] = 1
        assert errors(validator, wrong), f"{place}.no_such_key went unnoticed"


# ------------------------------------------------------------------ single values

RIGHT = [
    {},
    {"_base_": "quickstart", "method": {"temperature": 0.2}},  # the name is inherited
    {"method": "simclr", "backbone": "resnet18"},
    {"method": {"name": "mine.methods:Mine", "anything": [1]}},
    {"backbone": {"name": "timm/vit_small_patch16_224", "drop_path": 0.1}},
    {"data": {"batch_size": "???", "workers": "auto", "limit": {"num": 5}, "test": None}},
    {"data": {"batch_size": "${seed}", "views": [{"size": 32, "count": 2}]}},
    {
        "optim": {
            "lr": {"name": "warmup", "epochs": 5, "schedule": {"name": "constant", "value": 1}}
        }
    },
    {"optim": {"optimizer": "RMSprop", "options": {"alpha": 0.9}}},
    {"trainer": {"devices": [0, 1], "sync_batchnorm": 2, "strategy": {"name": "manual"}}},
    {"trainer": {"logger": [{"name": "CSVLogger"}], "precision": "bf16-mixed"}},
    {
        "callbacks": {
            "knn": None,
            "fast": {"name": "knn", "k": 5},
            "lr": {"name": "LearningRateMonitor"},
        }
    },
    {"callbacks": {"knn": {"name": "collapse"}}, "eval": {"knn": {"k": [1, 5]}}},
    {"run_dir": 7, "resume": "must"},
]
WRONG = [
    {"optimizer": {}},
    {"method": "simclrr"},
    {"method": {"name": "simclr", "temprature": 0.1}},
    {"method": {"temprature": 0.1}},
    {"method": {"name": "simclr", "backbone": "resnet18"}},  # given by sslight
    {"method": {"name": "simclr", "temperature": "warm"}},
    {"backbone": {"name": "resnet81"}},
    {"backbone": {"name": "timm/vit_small_patch16_224", "stemm": 1}},
    {"data": {"batch_size": "many"}},
    {"data": {"train": {"name": "folder", "rot": "x"}}},
    {"data": {"views": [{"size": 32, "coutn": 2}]}},
    {"optim": {"lr": {"name": "cosine", "strat": 1}}},
    {"optim": {"optimizer": "adamv"}},
    {"trainer": {"max_epoch": 3}},
    {"trainer": {"callbacks": []}},  # sslight's own
    {"trainer": {"accelerator": "abacus"}},
    {"callbacks": {"knn": {"kk": 5}}},
    {"callbacks": {"fast": {"name": "knn", "kk": 5}}},
    {"eval": {"knn": {"kk": 5}}},
    {"resume": "maybe"},
]


@pytest.mark.parametrize("tree", RIGHT, ids=str)
def test_what_is_right_fits(tree: dict[str, Any], validator: Draft7Validator) -> None:
    assert errors(validator, tree) == []


@pytest.mark.parametrize("tree", WRONG, ids=str)
def test_what_is_wrong_does_not(tree: dict[str, Any], validator: Draft7Validator) -> None:
    assert errors(validator, tree)


@pytest.mark.parametrize("tree", WRONG, ids=str)
def test_the_check_agrees_that_it_is_wrong(tree: dict[str, Any]) -> None:
    """Without the problems that an almost empty config has anyway."""
    section = next(iter(tree))
    found = [p.key.partition(".")[0] for p in config.check(tree, given=("method", "data"))]
    unfinished = tree == {"method": {"temprature": 0.1}}  # for the check, the name is missing
    assert section in found or unfinished


def test_nothing_is_required(validator: Draft7Validator) -> None:
    assert '"required": ["' not in schema_text().replace('"required": ["name"]', "")
    assert errors(validator, {"data": {"train": {"name": "folder"}}}) == []


def test_descriptions_come_from_the_docstrings(validator: Draft7Validator) -> None:
    made = validator.schema
    seed = made["properties"]["seed"]["description"]
    assert seed == "Decides order, augmentation and initial weights."
    assert made["definitions"]["method.simclr"]["properties"]["temperature"]["description"]
    first = made["properties"]["trainer"]["properties"]["max_epochs"]["description"]
    assert first.startswith("Stop training once")


# ------------------------------------------------------------------ the committed file


def is_part(shown: Any, now: Any) -> bool:
    """Whether everything shown is still so; a new method need not be in the file yet."""
    if isinstance(shown, dict) and isinstance(now, dict):
        return all(key in now and is_part(value, now[key]) for key, value in shown.items())
    if isinstance(shown, list) and isinstance(now, list):
        return all(any(is_part(entry, other) for other in now) for entry in shown)
    return bool(shown == now)


def test_the_committed_schema_is_current(validator: Draft7Validator) -> None:
    shown, now = json.loads(COMMITTED.read_text(encoding="utf-8")), dict(validator.schema)
    if version("pytorch-lightning") not in shown.pop("$comment"):
        shown["properties"].pop("trainer")  # Lightning's own keys, of another version
    for part in ("properties", "definitions"):
        for name, entry in shown[part].items():
            fresh = now[part].get(name)
            assert is_part(entry, fresh), f"{name}: run `python scripts/docs_tables.py`"
    methods = [name for name in shown["definitions"] if name.startswith("method.")]
    assert len(methods) > 20
    assert COMMITTED.stat().st_size < 250_000


def test_a_stale_schema_would_be_noticed() -> None:
    now = {"a": {"enum": ["x", "y"]}, "b": 1}
    assert is_part({"a": {"enum": ["x"]}}, now)
    assert not is_part({"a": {"enum": ["z"]}}, now)
    assert not is_part({"a": {"enum": ["x"]}, "c": 1}, now)


def test_installed_and_registered_names_are_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine:
        """My protocol."""

        def __init__(self, *, depth: int = 3) -> None:
            self.depth = depth

    monkeypatch.setitem(registry._registered, ("eval", "mine"), Mine)
    own = Draft7Validator(schema())
    assert errors(own, {"eval": {"mine": {"depth": 2}}}) == []
    assert errors(own, {"eval": {"mine": {"dept": 2}}})
