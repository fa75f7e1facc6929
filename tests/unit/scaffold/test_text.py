from __future__ import annotations

import pytest

from sslight.config.parse import parse
from sslight.scaffold.text import flow, line

VALUES = [
    *("photos", "my photos/a b", "C: drive", "#1", "yes", "null", "007", "1e3", "it's", 'a "b"'),
    *("~/photos", "~", "", " x", "ä ö", "a, b", "{x}", "-", "a: b", "x #y", "a/b.c-d_e"),
    *(1, 0.25, True, None, [0.2, 1.0], {"name": "folder", "root": "a b"}, {}),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: {"in": v}, lambda v: [v]])
def test_what_is_written_is_read_again(value, wrap):
    tree = parse(f"key: {flow(wrap(value))}\n", "x.yaml").tree
    assert tree == {"key": wrap(value)}


def test_a_comment_stands_beside_the_value_or_above_it():
    assert line(1, "size", 32, "small") == f"{'  size: 32':<52}# small"
    long = line(1, "views", {"name": "simclr" * 10}, "why " * 12)
    above, below = long.splitlines()
    assert above.startswith("  # why")
    assert below.startswith("  views: ")


def test_a_long_mapping_is_folded_and_means_the_same():
    value = {f"key_{i}": [i / 10, "some words - here"] for i in range(12)}
    written = f"top:\n{line(1, 'views', value, 'why')}\n"
    assert max(map(len, written.splitlines())) <= 110
    assert parse(written, "x.yaml").tree == {"top": {"views": value}}
