"""What the sources with a cached index (folder, filelist, tar) have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sslight.augment.reduced import Reduced
from sslight.data.decode import MAX_PIXELS, Choice, decode, decode_reduced
from sslight.data.errors import ImageError
from sslight.data.index import Index
from sslight.data.index_cache import cached, reopen
from sslight.data.sources._paths import file_stamp
from sslight.data.sources.base import Source


class IndexedSource(Source):
    """A source whose rows are an `Index`; pickled, it is the constructor's arguments and a path."""

    max_pixels: int = MAX_PIXELS
    _index: Index | None = None
    _folder: Path | None = None
    _aligned: list[str] | None = None

    @abstractmethod
    def _key(self) -> Mapping[str, object]:
        """Return what determines the index, as JSON values."""

    @abstractmethod
    def _build(self) -> Index:
        """Make the index; raise a sentence where there is nothing to index."""

    @abstractmethod
    def _path(self, i: int) -> str | bytes:
        """Return the file that holds image `i`, alone or among others."""

    @abstractmethod
    def _read(self, i: int) -> bytes:
        """Return the image file's bytes; OSError where it cannot be read."""

    def _fresh(self, index: Index) -> bool:
        return True

    @property
    def index(self) -> Index:
        """The index; opened if it is not."""
        if self._index is None:
            self.open()
        if self._index is None:
            raise RuntimeError(f"{type(self).__name__}.open() did not attach an index")
        return self._index

    def open(self) -> None:
        """Map the cached index, or build it; a copy sent to a worker maps what it was sent."""
        if self._index is not None:
            return
        if self._folder is not None:
            self._attach(self._reopened(self._folder))
        else:
            kind = type(self).__name__.lower()
            self._attach(cached(kind, self._key(), self._build, self._fresh))

    def _reopened(self, folder: Path) -> Index:
        try:
            return reopen(folder)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"the index of data.{self.split} is gone from {folder}: was the cache (or the "
                f"temporary folder) cleared during the run? Start again; it is built anew."
            ) from error

    def _attach(self, index: Index) -> None:
        self._index, self._folder = index, index.folder
        self.labels, self.classes = index.labels, index.meta["classes"]
        if self._aligned is not None:
            super().align(self._aligned)

    def align(self, classes: list[str]) -> None:
        """Renumber the labels by another split's class list; see `Source.align`."""
        self.open()
        super().align(classes)
        if self.labels is not None:
            self._aligned = list(classes)

    def __len__(self) -> int:
        return len(self.index)

    def id(self, i: int) -> str:
        """Return the row's path as the index has it; odd bytes are written as escapes."""
        return self.index.name(i).decode("utf-8", errors="backslashreplace")

    def fingerprint(self) -> str:
        """Return the hash of order, ids, labels and class names, before any `align`."""
        return str(self.index.meta["fingerprint"])

    def file(self, i: int) -> bytes:
        """Return the image file's bytes; OSError where it cannot be read."""
        return self._read(i)

    def stamp(self, i: int) -> str:
        """Return the size and time of the file that holds image `i`, and the limit on pixels."""
        return f"{file_stamp(self._path(i))} {self.max_pixels}"

    def load(self, i: int) -> Tensor:
        """Return image `i` as uint8 `[3, H, W]`; raise `ImageError` if that cannot be done."""
        return decode(self._bytes(i), self.id(i), max_pixels=self.max_pixels)

    def load_reduced(self, i: int, choose: Choice) -> Tensor | Reduced:
        """Return image `i` divided by what `choose` gives; see `Source.load_reduced`."""
        return decode_reduced(self._bytes(i), self.id(i), choose, max_pixels=self.max_pixels)

    def _bytes(self, i: int) -> bytes:
        try:
            return self._read(i)
        except OSError as error:
            reason = f"cannot be read: {error.strerror or error}"
            raise ImageError(self.id(i), reason) from error

    def __getstate__(self) -> dict[str, Any]:
        mapped = ("_index", "labels", "classes")
        return {name: value for name, value in self.__dict__.items() if name not in mapped}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._folder is not None:
            self.open()
