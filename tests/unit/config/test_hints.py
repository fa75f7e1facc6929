from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Optional, Union

import pytest
import torch

from sslight.config.hints import describe, family, options
from sslight.data.sources.base import Source
from sslight.schedules import Cosine, Schedule


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "an integer"),
        (Optional[int], "an integer or null"),  # noqa: UP045
        (None | float, "a number or null"),
        (float | Schedule, "a number or a schedule {name: ..., ...}"),
        (Source | None, "a source {name: ..., ...} or null"),
        (int | Literal["auto"], "an integer or 'auto'"),
        (Union[Literal[1, 2], Union[str, None]], "1, 2, text or null"),  # noqa: UP007
        (list[int], "a list of integers"),
        (list[str | int], "a list of items, each text or an integer"),
        (tuple[float, float], "a list of 2 numbers"),
        (tuple[int, ...], "a list of integers"),
        (dict[str, Source], "a mapping to a source {name: ..., ...}"),
        (dict[str, Any], "a mapping"),
        (Path, "a path"),
        (torch.nn.Module, "an object that only Python can give"),
        (torch.nn.Module | int, "an integer"),
    ],
)
def test_describe(hint, words):
    assert describe(hint) == words


def test_families_by_class():
    assert family(Source) == "source"
    assert family(Cosine) == "schedule"
    assert family(torch.nn.Module) is None
    assert family(list[int]) is None


def test_options_are_flat():
    assert options(Optional[Union[int, Literal["a"]]]) == [int, Literal["a"], type(None)]  # noqa: UP007,UP045
