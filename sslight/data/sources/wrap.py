"""Anyone's map-style dataset as a source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils.data import IterableDataset

from sslight.data.errors import ImageError
from sslight.data.sources._labels import classes_of, fingerprint, labels_of
from sslight.data.sources._pixels import to_uint8
from sslight.data.sources.base import Source

_IMAGE_KEYS = ("image", "img")


def as_source(obj: Any) -> Source:
    """Returns a source as it is, and any map-style dataset as a `Wrapped`.

    Raises:
        TypeError: the object has no length or no items.
    """
    if isinstance(obj, Source):
        return obj
    iterable_only = isinstance(obj, (IterableDataset, str, bytes))
    if iterable_only or not (hasattr(obj, "__getitem__") and hasattr(obj, "__len__")):
        raise TypeError(
            f"data: expected a source or a map-style dataset (with __len__ and __getitem__), got "
            f"{type(obj).__name__}. Give the dataset itself, not a loader or an iterator over it."
        )
    return Wrapped(obj)


class Wrapped(Source):
    """A map-style dataset: its items are images, ``(image, label, ...)`` or dicts with an "image".

    An image is a PIL image, a uint8 array or tensor, or a float one in [0, 1]. Labels are taken
    from the dataset's ``targets`` or ``labels`` (also inside torch's Subset, ConcatDataset,
    TensorDataset); without those the images count as unlabelled, since reading the labels would
    mean reading every image once. Class names are taken from its ``classes``.

    The dataset may transform at random: whoever loads seeds torch, numpy and random before each
    item, as ``random`` asks for.

    Args:
        dataset: The dataset; worker processes get a pickled copy where they are spawned.
    """

    random = True

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self._fingerprint = ""

    def open(self) -> None:
        """Look for labels and class names."""
        if self._fingerprint:
            return
        self.labels = labels_of(self.dataset)
        self.classes = classes_of(self.dataset, self.labels)
        kind = type(self.dataset).__name__
        self._fingerprint = fingerprint(kind, len(self), self.labels, self.classes)

    def __len__(self) -> int:
        return len(self.dataset)

    def load(self, i: int) -> Tensor:
        """Returns image ``i`` as uint8 ``[C, H, W]``; a file it cannot read is an `ImageError`."""
        name = self.id(i)
        try:
            item = self.dataset[i]
        except OSError as error:
            raise ImageError(name, f"cannot be read: {error}") from error
        return to_uint8(_image_of(item, name), name)

    def id(self, i: int) -> str:
        """Returns ``<class of the dataset>/<split>/<i>``."""
        if not 0 <= i < len(self):
            raise IndexError(f"{type(self.dataset).__name__}: image {i} of {len(self)}")
        return f"{type(self.dataset).__name__}/{self.split}/{i}"

    def fingerprint(self) -> str:
        """Returns a hash of the dataset's type, length, labels and classes; not of its pixels."""
        self.open()
        return self._fingerprint


def _image_of(item: Any, id: str) -> Any:
    if isinstance(item, Mapping):
        for key in _IMAGE_KEYS:
            if key in item:
                return item[key]
        raise TypeError(
            f"{id}: the item has the keys {sorted(map(str, item))}; the image must be under "
            f"{' or '.join(map(repr, _IMAGE_KEYS))}."
        )
    return item[0] if isinstance(item, (tuple, list)) and item else item
