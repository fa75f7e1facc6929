from __future__ import annotations

from sslight.config.interpolate import resolved


def test_interpolations_take_values_with_their_types():
    tree = {"a": {"b": 3, "c": "${.b}", "d": "${a.b}/x"}, "l": ["${a.b}"], "m": "${a}"}
    filled, problems = resolved(tree)
    assert not problems
    assert filled["a"] == {"b": 3, "c": 3, "d": "3/x"}
    assert filled["l"] == [3]
    assert filled["m"] == {"b": 3, "c": 3, "d": "3/x"}
    assert tree["a"]["c"] == "${.b}"


def test_every_broken_interpolation_is_a_problem():
    _, problems = resolved({"a": "${nope}", "b": {"c": "${x.y}"}, "d": 1})
    assert [problem.key for problem in problems] == ["a", "b.c"]
    assert "nope" in problems[0].message


def test_labels_may_hold_dots():
    filled, problems = resolved({"callbacks": {"my.knn": {"k": "${seed}"}}, "seed": 4})
    assert not problems
    assert filled["callbacks"]["my.knn"]["k"] == 4


def test_a_tree_without_interpolations_is_returned_as_it_is():
    tree = {"a": 1}
    assert resolved(tree)[0] is tree
