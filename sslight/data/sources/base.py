"""What every source of images is: rows with an id, pixels, and perhaps a label."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from sslight.augment.reduced import Reduced
from sslight.data.decode import Choice


class Source(ABC):
    """An ordered set of images.

    The constructor keeps its arguments and touches no disk; `open()` does. An opened source is
    pickled to the loader's workers, so what is large in it should be memory-mapped.

    Attributes:
        split: the split's name; the data module sets it before `open()`.
        labels: int64 `[N]` with -1 for "none", or int8 `[N, K]` (1 yes, 0 no, -1 unknown), or
            None when the source has no labels. Known after `open()`.
        classes: name of class i (of column i for `[N, K]`), or None. Known after `open()`.
        random: whether `load` may give other pixels each time; who loads seeds torch, numpy and
            random before.
        in_memory: whether `load` reads and decodes nothing. Known after `open()`.
    """

    split: str = "train"
    labels: np.ndarray | None = None
    classes: list[str] | None = None
    random: bool = False
    in_memory: bool = False

    @abstractmethod
    def open(self) -> None:
        """Build the index, or map a cached one; calling it again does nothing."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    @abstractmethod
    def load(self, i: int) -> Tensor:
        """Return image `i` as uint8 `[C, H, W]`, RGB; raise `ImageError` if it cannot be read."""

    def load_reduced(self, i: int, choose: Choice) -> Tensor | Reduced:
        """Return image `i` divided by what `choose` gives for its height and width.

        A source that cannot decode at a fraction of an image's size returns what `load` does.
        """
        del choose
        return self.load(i)

    def file(self, i: int) -> bytes | None:
        """Return the image file of row `i` as it is; None for a source whose rows are no files."""
        del i
        return None

    def stamp(self, i: int) -> str:
        """Return what changes with the pixels of row `i`, without reading them.

        A file's size and time; "" where `fingerprint` says it all, or nothing can be told.
        """
        del i
        return ""

    @abstractmethod
    def id(self, i: int) -> str:
        """Return the name of row `i`: a path, or something like `shapes/train/17`."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a hash of order, ids and labels that does not change when the root moves."""

    def align(self, classes: list[str]) -> None:
        """Renumber the labels by another split's class list (the train split's).

        Does nothing for a source without labels or without class names.

        Raises:
            ValueError: a class of this split is not in the list.
        """
        if self.labels is None or self.classes is None or self.classes == classes:
            return
        self.labels = renumber(self.labels, class_map(self.classes, classes, self.split))
        self.classes = list(classes)


def class_map(own: Sequence[str], target: Sequence[str], split: str) -> np.ndarray:
    """Return `m` with `target[m[i]] == own[i]`, extended by the target's length as last entry.

    Raises:
        ValueError: a name of `own` is not in `target`; the error lists all of them.
    """
    position = {name: i for i, name in enumerate(target)}
    unknown = [name for name in own if name not in position]
    if unknown:
        listed = ", ".join(unknown[:10]) + (", ..." if len(unknown) > 10 else "")
        raise ValueError(
            f"data.{split}: {len(unknown)} class(es) of this split are not among the "
            f"{len(target)} classes of the training split: {listed}. Remove these images from "
            f"the split, or add the classes to the training split."
        )
    return np.array([*(position[name] for name in own), len(target)], dtype=np.int64)


def renumber(labels: np.ndarray, mapping: np.ndarray) -> np.ndarray:
    """Apply a `class_map` to labels `[N]` (-1 stays) or to the columns of `[N, K]`."""
    if labels.ndim == 1:
        return np.where(labels < 0, np.int64(-1), mapping[np.maximum(labels, 0)])
    columns = np.full((len(labels), int(mapping[-1])), -1, dtype=labels.dtype)
    columns[:, mapping[:-1]] = labels  # a class this split does not know is "unknown" here
    return columns
