"""A part of a source: the first so many of a seeded shuffle, balanced over classes or not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from sslight.augment.reduced import Reduced
from sslight.data.decode import Choice
from sslight.data.sources._derived import Derived
from sslight.data.sources.base import Source


@dataclass(frozen=True)
class Limit:
    """How many images of a split to keep.

    Limits that differ in ``num`` and ``skip`` alone cut one and the same shuffle: ``Limit(900,
    skip=100)`` shares no image with ``Limit(100)``, and ``Limit(100)`` lies within ``Limit(200)``.

    Args:
        num: Number of images.
        balanced: The same number of each class; what does not divide goes to the first classes.
        skip: How many images of the shuffle to leave out first.
        seed: Seed of the shuffle.
    """

    num: int
    balanced: bool = False
    skip: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num < 1:
            raise ValueError(f"data.limit: num must be at least 1, got {self.num}.")
        if self.skip < 0:
            raise ValueError(f"data.limit: skip must not be negative, got {self.skip}.")
        if self.seed < 0:
            raise ValueError(f"data.limit: seed must not be negative, got {self.seed}.")


def limit_rows(labels: np.ndarray | None, n: int, limit: Limit) -> np.ndarray:
    """Returns the kept rows of a source of ``n`` images, ascending: int64 ``[limit.num]``.

    Images without a label (-1) are never part of a balanced limit.

    Raises:
        ValueError: there are not so many images, or no labels to balance by.
    """
    if limit.balanced:
        return _balanced_rows(_one_label_each(labels), limit)
    if limit.skip + limit.num > n:
        skipped = f" after {limit.skip} skipped ones" if limit.skip else ""
        raise ValueError(
            f"data.limit asks for {limit.num} images{skipped}, but the split has {n}. "
            "Lower data.limit, or leave it out to use them all."
        )
    order = np.random.default_rng(limit.seed).permutation(n)
    return np.sort(order[limit.skip : limit.skip + limit.num])


def _one_label_each(labels: np.ndarray | None) -> np.ndarray:
    if labels is None or not (labels >= 0).any():
        raise ValueError(
            "data.limit: balanced needs labels, and this split has none. "
            "Use balanced: false, or a source with labels."
        )
    if labels.ndim != 1:
        raise ValueError(
            f"data.limit: balanced needs one label per image; these have {labels.shape[1]} "
            "columns (several labels per image). Use balanced: false."
        )
    return labels


def _balanced_rows(labels: np.ndarray, limit: Limit) -> np.ndarray:
    classes, counts = np.unique(labels[labels >= 0], return_counts=True)
    skip, num = _quotas(limit.skip, len(classes)), _quotas(limit.num, len(classes))
    short = np.flatnonzero(skip + num > counts)
    if len(short):
        lacking = ", ".join(f"{classes[k]} ({counts[k]} images)" for k in short[:10])
        raise ValueError(
            f"data.limit asks for {limit.num} images over {len(classes)} classes, that is "
            f"{int((skip + num).max())} of each with those to skip; classes with fewer: {lacking}"
            f"{', ...' if len(short) > 10 else ''}. Lower num or skip, or use balanced: false."
        )
    by_class = np.argsort(labels, kind="stable")[np.count_nonzero(labels < 0) :]
    kept = []
    for k, rows in enumerate(np.split(by_class, np.cumsum(counts)[:-1])):
        order = np.random.default_rng([limit.seed, int(classes[k])]).permutation(rows)
        kept.append(order[skip[k] : skip[k] + num[k]])
    return np.sort(np.concatenate(kept))


def _quotas(total: int, classes: int) -> np.ndarray:
    """Returns the floor of total / classes for each class, and one more for the first ones."""
    return np.array([total // classes + (k < total % classes) for k in range(classes)])


class Subset(Derived):
    """Some rows of a source, in the order given; everything else is the source's.

    Args:
        source: The source; it may be open already.
        rows: Row numbers in the source.
    """

    def __init__(self, source: Source, rows: np.ndarray) -> None:
        self.rows = np.asarray(rows, dtype=np.int64)
        if len(self.rows) and not 0 <= self.rows.min() <= self.rows.max() < len(source):
            raise IndexError(
                f"rows {self.rows.min()}..{self.rows.max()} of a source with {len(source)} images"
            )
        super().__init__(source)

    def _of_rows(self, labels: np.ndarray) -> np.ndarray:
        return np.asarray(labels[self.rows])

    def __len__(self) -> int:
        return len(self.rows)

    def load(self, i: int) -> Tensor:
        """Returns the source's image of this row."""
        return self.source.load(self._row(i))

    def load_reduced(self, i: int, choose: Choice) -> Tensor | Reduced:
        """Returns the source's image of this row, divided by what `choose` gives."""
        return self.source.load_reduced(self._row(i), choose)

    def file(self, i: int) -> bytes | None:
        """Returns the source's file of this row, or None."""
        return self.source.file(self._row(i))

    def stamp(self, i: int) -> str:
        """Returns the source's stamp of this row."""
        return self.source.stamp(self._row(i))

    def id(self, i: int) -> str:
        """Returns the source's name of this row."""
        return self.source.id(self._row(i))

    def _row(self, i: int) -> int:
        if not 0 <= i < len(self.rows):
            raise IndexError(f"image {i} of a subset of {len(self.rows)}")
        return int(self.rows[i])

    def fingerprint(self) -> str:
        """Returns a hash of the source's fingerprint and the rows."""
        digest = hashlib.sha256(self.source.fingerprint().encode())
        digest.update(self.rows.tobytes())
        return digest.hexdigest()
