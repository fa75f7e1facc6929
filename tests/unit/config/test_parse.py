from __future__ import annotations

import pytest

from sslight.config.errors import ConfigError
from sslight.config.parse import parse, parse_value


def complaints(text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        parse(text, "my.yaml")
    return str(error.value).splitlines()


def test_keys_stay_text_and_know_their_line():
    document = parse("seed: 1\non: {1: a, no: b}\nlist:\n  - x\n  - {y: 2}\n", "my.yaml")
    assert document.tree == {"seed": 1, "on": {"1": "a", "no": "b"}, "list": ["x", {"y": 2}]}
    assert document.origins["list.1.y"] == "my.yaml:5"
    assert document.origins["on.no"] == "my.yaml:2"


def test_quoted_scalars_are_text():
    assert parse("a: '7'\nb: \"true\"\n", "f").tree == {"a": "7", "b": "true"}


def test_an_empty_file_is_an_empty_config():
    assert parse("# nothing\n", "f").tree == {}


def test_syntax_error_names_file_and_line():
    (line,) = complaints("method:\n  name: [a, b\nseed: 1\n")
    assert line.startswith("my.yaml:")
    assert "not valid YAML" in line


def test_tabs_get_advice():
    (line,) = complaints("method:\n\tname: simclr\n")
    assert line.startswith("my.yaml:2: not valid YAML")
    assert "spaces, not with tabs" in line


def test_interpolation_in_braces_gets_advice():
    (line,) = complaints("data: {batch_size: ${seed}}\n")
    assert '"${data.batch_size}"' in line


def test_every_repeated_key_is_named():
    lines = complaints("seed: 1\noptim:\n  lr: 1\n  lr: 2\nseed: 3\n")
    assert lines == [
        "my.yaml:4: optim.lr: written twice, first in line 3. Remove one.",
        "my.yaml:5: seed: written twice, first in line 1. Remove one.",
    ]


def test_python_tags_are_refused():
    (line,) = complaints("x: !!python/object/apply:os.system ['true']\n")
    assert line.startswith("my.yaml:1: x: the tag")


def test_the_top_is_a_mapping():
    assert complaints("- a\n") == ["my.yaml: the file must hold keys, `method: ...`."]


def test_anchors_and_merge_keys():
    text = "a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\nc: *a\n"
    tree = parse(text, "f").tree
    assert tree["b"] == {"x": 1, "y": 3}
    assert tree["c"] == {"x": 1, "y": 2}


def test_an_alias_to_itself_is_no_endless_loop():
    (line,) = complaints("a: &a [1, *a]\n")
    assert "refers to the mapping or list it is in" in line


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5),
        ("", None),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ("{k: 20, on: no}", {"k": 20, "on": "no"}),
        ("'7'", "7"),
        ("/a b/#1", "/a b/#1"),
        ("a: b", "a: b"),
        ("007", "007"),
    ],
)
def test_override_values(text, value):
    assert parse_value(text) == value


def test_broken_override_value():
    with pytest.raises(ValueError, match="expected"):
        parse_value("[1, 2")


def test_a_missing_value_may_stand_in_braces():
    assert parse("a: {b: c, d: ???}\n", "f").tree == {"a": {"b": "c", "d": "???"}}
    assert parse("a: {d: ???\n  , e: [???, 1, ??? ]}\n", "f").tree["a"]["e"] == ["???", 1, "???"]
    assert parse("plain: ???\nodd: {? b : c}\n", "f").tree == {"plain": "???", "odd": {"b": "c"}}
    assert parse_value("{root: ???}") == {"root": "???"}
