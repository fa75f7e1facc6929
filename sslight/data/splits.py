"""The named splits of a dataset: opened once, limited, with one list of classes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from sslight.data.decoded import Decoded, decoded_in
from sslight.data.fill import all_cores
from sslight.data.limit import Limit, Subset, limit_rows
from sslight.data.sources.base import Source
from sslight.data.sources.wrap import as_source
from sslight.errors import refusing

_NAME = re.compile(r"\w[\w.-]*")


def merge_splits(train: Any, test: Any, others: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return all splits by name; train and test may not come twice."""
    taken = {"train", "test"} & set(others or {})
    if taken:
        raise ValueError(f"splits holds {sorted(taken)}, which have keys of their own.")
    return {"train": train, "test": test, **(others or {})}


class Splits:
    """Sources by name, opened when first asked for.

    Args:
        given: A source or map-style dataset per name; None entries are left out.
        limits: How many images to keep, for some names.
        cache: Where decoded images are kept: ``ram``, a folder, or None.
        cache_side: Longest shorter side of an image; None for as they are.
    """

    def __init__(
        self,
        given: Mapping[str, Any],
        limits: Mapping[str, int | Limit | None],
        cache: str | Path | None = None,
        cache_side: int | None = None,
    ) -> None:
        self._given = {name: as_source(x) for name, x in given.items() if x is not None}
        if not self._given:
            raise ValueError("SSLDataModule has no split: give train, test or splits.")
        for name in self._given:
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"split {name!r}: the name becomes a folder; write letters, digits, - and _."
                )
        self._limits = dict(limits)
        self._cache = cache, cache_side
        self._opened: dict[str, Source] = {}

    @property
    def names(self) -> list[str]:
        """Names of the splits that exist."""
        return list(self._given)

    def __contains__(self, split: str) -> bool:
        return split in self._given

    def open(self, split: str) -> Source:
        """Open a split: build or map its index, limit it, and give it train's class ids."""
        if split not in self._opened:
            with refusing():
                self._opened[split] = self._kept(self._open(split))
        return self._opened[split]

    def fill(self, splits: Sequence[str], workers: int | Literal["auto"]) -> None:
        """Decode the images of splits once and keep them, where a cache is asked for.

        Args:
            splits: Names; those that do not exist are left out.
            workers: Processes that decode; ``auto`` for one per core.
        """
        count = all_cores() if workers == "auto" else int(workers)
        for split in splits:
            decoded = decoded_in(self.open(split)) if split in self else None
            if decoded is not None:
                decoded.fill(count)

    def open_decoded(self, split: str) -> Source:
        """Open a split, with the decoded images that were kept, if they were."""
        source = self.open(split)
        decoded = decoded_in(source)
        if decoded is not None:
            decoded.attach()
        return source

    def release(self) -> None:
        """Give the memory of decoded images back, but for splits that came with their own."""
        for source in self._opened.values():
            if isinstance(source, Decoded):
                source.release()

    def _kept(self, source: Source) -> Source:
        return source if self._cache == (None, None) else Decoded(source, *self._cache)

    @property
    def reference(self) -> Source:
        """The split that decides the classes: train where there is one."""
        return self.open("train" if "train" in self else self.names[0])

    def _open(self, split: str) -> Source:
        if split not in self._given:
            raise ValueError(f"There is no split {split!r}; the splits are {self.names}.")
        source = self._given[split]
        source.split = split
        source.open()
        if split != "train" and "train" in self and self.reference.classes and source.classes:
            source.align(self.reference.classes)
        limit = self._limits.get(split)
        if limit is None:
            return source
        limit = Limit(limit) if isinstance(limit, int) else limit
        return Subset(source, limit_rows(source.labels, len(source), limit))

    def num_classes(self) -> int | None:
        """Return the number of classes, or None without labels."""
        classes, labels = self.reference.classes, self.reference.labels
        if classes:
            return len(classes)
        if labels is None or not len(labels):
            return None
        return int(labels.shape[1] if labels.ndim == 2 else labels.max() + 1) or None


class Ids(Sequence[str]):
    """The identifiers of a source's rows, without a list of them in memory."""

    def __init__(self, source: Source) -> None:
        self._id: Callable[[int], str] = source.id
        self._length = len(source)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [self._id(k) for k in range(*i.indices(self._length))]
        return self._id(range(self._length)[i])
