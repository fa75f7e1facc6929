"""What sources have in common whose images are another source's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sslight.data.sources.base import Source


class Derived(Source):
    """Another source's images, all or some of them; labels and classes follow it.

    Args:
        source: The source; it may be open already.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.split = source.split
        self._like_source()

    def _like_source(self) -> None:
        self.random, self.in_memory = self.source.random, self.source.in_memory
        labels = self.source.labels
        self.labels = None if labels is None else self._of_rows(labels)
        self.classes = self.source.classes

    def _of_rows(self, labels: np.ndarray) -> np.ndarray:
        """Return the labels of these rows from those of the source's."""
        return labels

    def open(self) -> None:
        """Open the source."""
        self.source.split = self.split
        self.source.open()
        self._like_source()

    def align(self, classes: list[str]) -> None:
        """Renumber the source's labels, and so these; see `Source.align`."""
        self.source.align(classes)
        self._like_source()


def lineage(source: Source) -> Iterator[Source]:
    """Yield a source and those that it takes its rows from, the files' own last."""
    yield source
    while isinstance(inner := getattr(source, "source", None), Source):
        source = inner
        yield source
