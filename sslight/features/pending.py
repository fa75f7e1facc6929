"""A rank's rows of a split that are still to be computed, without a list of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

#: Rows whose marks are looked at, or whose numbers are listed, at a time.
CHUNK = 2**18


def chunk_rows(batch_size: int) -> int:
    """Return the number of rows in a chunk of whole batches."""
    return batch_size * max(CHUNK // batch_size, 1)


def marks_in(file: Path, count: int) -> np.ndarray:
    """Map a file of ``count`` marks, so that no memory is taken for them."""
    return np.memmap(file, np.uint8, "r", shape=count) if count else np.zeros(0, np.uint8)


class Pending:
    """Rows r, r + W, ... of a split and their marks; a row is missing where its mark is 0.

    Args:
        own: Dataset indices of the rows.
        marks: A byte for each, which may stay in a file; None where no row is done.
    """

    def __init__(self, own: range, marks: np.ndarray | None = None) -> None:
        self.own = own
        self._marks = np.broadcast_to(np.uint8(0), len(own)) if marks is None else marks

    def __len__(self) -> int:
        starts = range(0, len(self.own), CHUNK)
        return sum(int((self._marks[at : at + CHUNK] == 0).sum()) for at in starts)

    def among(self, index: np.ndarray) -> np.ndarray:
        """Tell which of some of the rank's dataset indices are missing."""
        missing: np.ndarray = self._marks[(index - self.own.start) // self.own.step] == 0
        return missing

    def chunks(self, batch_size: int = 1) -> Iterator[np.ndarray]:
        """Dataset indices of every batch that has a missing row, some batches at a time.

        An interrupted extraction thus forms the same batches as a straight one, and since the last
        digits of a feature may depend on its batch, it stores the same numbers.
        """
        step = chunk_rows(batch_size)
        for at in range(0, len(self.own), step):
            missing = self._marks[at : at + step] == 0
            taken = np.logical_or.reduceat(missing, np.arange(0, len(missing), batch_size))
            part = self.own[at : at + step]
            rows = np.arange(part.start, part.stop, part.step)
            rows = rows[np.repeat(taken, batch_size)[: len(rows)]]
            if len(rows):
                yield rows
