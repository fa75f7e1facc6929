from __future__ import annotations

import pytest

from sslight.doctor import words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0384, "38 ms"),
        (2.44, "2.4 s"),
        (75, "75 s"),
        (600, "10 min"),
        (11160, "3.1 h"),
        (3e5, "3.5 d"),
    ],
)
def test_durations(seconds, said):
    assert words.duration(seconds) == said


def test_memory():
    assert words.memory(300 * 2**20) == "300 MiB"
    assert words.memory(78.5 * 2**30) == "78 GiB"


def test_counts():
    assert words.counted(1, "class", "classes") == "1 class"
    assert words.counted(2000, "class", "classes") == "2,000 classes"
    assert words.share(500, 10_000, "image") == "500 of 10,000 images"
    assert words.share(40, 40, "image") == "all 40 images"
    assert words.listed(list("abc"), 2) == "a, b, ... (3 in all)"


def test_a_problem_is_marked():
    assert str(words.Finding("problem", "It broke.")) == "! It broke."
