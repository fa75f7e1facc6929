from __future__ import annotations

import math

import pytest

from sslight.config import scalars


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("-3", -3),
        ("0.3", 0.3),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("007", "007"),
        ("1_000", "1_000"),
        ("1e-6", "1e-6"),
        ("1.0e-6", "1.0e-6"),
        ("12:30:45", "12:30:45"),
        ("no", "no"),
        ("True", "True"),
        ("2020-01-01", "2020-01-01"),
        ("+3", "+3"),
        ("cosine", "cosine"),
    ],
)
def test_a_plain_scalar_keeps_its_text_unless_the_value_gives_it_back(text, value):
    read = scalars.from_text(text)
    assert read == value
    assert type(read) is type(value)
    if text not in ("~", ""):
        assert scalars.to_text(read) == text


@pytest.mark.parametrize(
    ("text", "value"), [("1e-6", 1e-6), ("no", "no"), ("007", "007"), ("True", True), ("5.", 5.0)]
)
def test_natural_reads_what_no_annotation_explains(text, value):
    read = scalars.natural(text)
    assert read == value
    assert type(read) is type(value)


def test_int_of():
    assert [scalars.int_of(v) for v in (3, "007", "1_000", "1e5", "-2")] == [3, 7, 1000, 100000, -2]
    for wrong in (True, 2.0, "2.0", "1e-1", "x", None, [1]):
        with pytest.raises(ValueError):  # noqa: PT011
            scalars.int_of(wrong)


def test_float_of():
    assert [scalars.float_of(v) for v in (3, 0.5, "1e-6", ".5")] == [3.0, 0.5, 1e-6, 0.5]
    assert scalars.float_of(".inf") == math.inf
    assert math.isnan(scalars.float_of(".nan"))
    for wrong in (True, "fast", "", None, "1.2.3"):
        with pytest.raises(ValueError):  # noqa: PT011
            scalars.float_of(wrong)


def test_bool_of():
    words = ("yes", "no", "On", "OFF", "True")
    assert [scalars.bool_of(v) for v in words] == [True, False, True, False, True]
    for wrong in (1, 0, "1", "ja", None):
        with pytest.raises(ValueError):  # noqa: PT011
            scalars.bool_of(wrong)


def test_paths_know_the_home_folder():
    assert "~" not in str(scalars.path_of("~/images"))
    assert str(scalars.path_of("007")) == "007"
