"""What a split holds: opened images (all, or a sample spread evenly), sizes, channels, labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from sslight.data.dataset import seeded
from sslight.data.errors import ImageError
from sslight.data.sources.base import Source


@dataclass(frozen=True)
class LabelFacts:
    """How labels are spread over the classes.

    Attributes:
        counts: Images by class, in the order of the classes.
        unlabelled: Images without a label.
    """

    counts: dict[str, int]
    unlabelled: int

    @property
    def empty(self) -> list[str]:
        """Classes without an image."""
        return [name for name, count in self.counts.items() if not count]


@dataclass(frozen=True)
class SplitFacts:
    """What was seen of a split.

    Attributes:
        split: Its name.
        total: Its images.
        opened: How many of them were opened.
        bad: What could not be read, each with its reason.
        sizes: ``[opened and good, 2]``: height and width in pixels.
        channels: Images by their number of channels.
        grey: Images whose channels are all equal.
        labels: None where there are none.
    """

    split: str
    total: int
    opened: int
    bad: tuple[str, ...]
    sizes: np.ndarray
    channels: Counter[int]
    grey: int
    labels: LabelFacts | None

    @property
    def good(self) -> int:
        """Images that could be read."""
        return len(self.sizes)

    @property
    def short_sides(self) -> np.ndarray:
        """The shorter side of each good image, sorted."""
        sides: np.ndarray = np.sort(self.sizes.min(axis=1)) if self.good else np.zeros(0, int)
        return sides


def look(source: Source, most: int) -> SplitFacts:
    """Open images of a split and note what they are.

    Args:
        source: An opened source.
        most: Images to open; more than that are sampled evenly over the split's order.
    """
    rows = spread(len(source), most)
    bad: list[str] = []
    sizes: list[tuple[int, int]] = []
    channels: Counter[int] = Counter()
    grey = 0
    for image in _images(source, rows, bad):
        sizes.append((int(image.shape[1]), int(image.shape[2])))
        channels[len(image)] += 1
        grey += len(image) > 1 and bool((image == image[:1]).all())
    return SplitFacts(
        split=source.split,
        total=len(source),
        opened=len(rows),
        bad=tuple(bad),
        sizes=np.array(sizes, dtype=np.int64).reshape(-1, 2),
        channels=channels,
        grey=grey,
        labels=label_facts(source),
    )


def spread(total: int, most: int) -> np.ndarray:
    """Return at most ``most`` row numbers of ``total``, evenly spaced, the same ones every time."""
    return np.unique(np.linspace(0, total - 1, min(most, total)).round().astype(np.int64))


def load(source: Source, i: int) -> Tensor:
    """Return image ``i``; a dataset that transforms at random is left as it was."""
    if not getattr(source, "random", False):
        return source.load(i)
    with seeded(i):
        return source.load(i)


def label_facts(source: Source) -> LabelFacts | None:
    """Count a split's labels: one class per image, or several (``[N, K]``)."""
    labels = source.labels
    if labels is None:
        return None
    if labels.ndim == 2:
        counts, unlabelled = (labels == 1).sum(axis=0), int((labels < 0).all(axis=1).sum())
    else:
        known = labels[labels >= 0]
        classes = len(source.classes or []) or int(known.max(initial=-1)) + 1
        counts, unlabelled = np.bincount(known, minlength=classes), int((labels < 0).sum())
    names = source.classes or [str(k) for k in range(len(counts))]
    return LabelFacts(dict(zip(names, counts.tolist(), strict=False)), unlabelled)


def _images(source: Source, rows: np.ndarray, bad: list[str]) -> Iterator[Tensor]:
    for i in rows.tolist():
        try:
            image = load(source, i)
        except ImageError as error:  # noqa: PERF203  each image may fail
            bad.append(str(error))
        else:
            yield image
