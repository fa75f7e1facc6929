from __future__ import annotations

from sslight.config import ConfigError, Problem


def test_a_problem_is_one_line():
    assert (
        str(Problem("a.b", "got 1;\n  expected 2.", "my.yaml:3"))
        == "my.yaml:3: a.b: got 1; expected 2."
    )
    assert str(Problem("", "broken.")) == "broken."


def test_an_error_is_all_its_problems():
    error = ConfigError([Problem("a", "x."), Problem("b", "y.")])
    assert str(error) == "a: x.\nb: y."
    assert [problem.key for problem in error.problems] == ["a", "b"]
