"""Text labels to class numbers, without keeping a string per image."""

from __future__ import annotations

import re
from array import array

import numpy as np

_NUMBER = re.compile(r"0|[1-9][0-9]*")
_MANY = 1_000_000


class LabelColumn:
    """One label per row, as text, numbered at the end.

    If every label is an integer, it is the class number (classes "0", "1", ... up to the
    largest). Otherwise, or if one is a million or more (then they are ids, no class numbers),
    classes are the distinct labels, sorted, and numbered in that order. Empty and `-1` mean
    "none".

    Args:
        numbers: whether integers are class numbers; if not, all labels are names, `-1` too.
    """

    def __init__(self, numbers: bool = True) -> None:
        self._none = ("", "-1") if numbers else ("",)
        self._as_numbers = numbers
        self._numbers: dict[str, int] = {}
        self._rows = array("q")

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, label: str, count: int = 1) -> None:
        """Append the label of the next `count` rows."""
        number = self._numbers.setdefault(label, len(self._numbers))
        self._rows.extend([number] * count)

    def set(self, row: int, label: str) -> None:
        """Change the label of a row that was added."""
        self._rows[row] = self._numbers.setdefault(label, len(self._numbers))

    def finish(self) -> tuple[np.ndarray, list[str]]:
        """Return int64 `[N]` and the class names."""
        named = [label for label in self._numbers if label not in self._none]
        classes, position = _classes(named, self._as_numbers)
        mapping = [position.get(label, -1) for label in self._numbers]
        rows = np.frombuffer(self._rows, dtype=np.int64)
        return np.array(mapping, dtype=np.int64)[rows], classes


def _classes(named: list[str], as_numbers: bool) -> tuple[list[str], dict[str, int]]:
    if as_numbers and named and all(_NUMBER.fullmatch(label) for label in named):
        largest = max(int(label) for label in named)
        if largest < _MANY:
            return [str(i) for i in range(largest + 1)], {label: int(label) for label in named}
        named = sorted(named, key=int)
    else:
        named = sorted(named)
    return named, {label: i for i, label in enumerate(named)}
