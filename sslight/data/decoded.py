"""A source whose images are decoded once and kept, in memory or in a folder."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from sslight.augment.crop import resize
from sslight.data.fill import Filling
from sslight.data.packed import FORMAT, PackedImages
from sslight.data.shelf import MemoryHome, Shelf
from sslight.data.sources._derived import Derived, lineage
from sslight.data.sources._paths import expand
from sslight.data.sources.base import Source
from sslight.errors import refusing

_log = logging.getLogger("sslight")

_ROWS_AT_ONCE = 4096
_THREADS = 8  # that ask for sizes and times of files; a network disk answers after a while


class Decoded(Derived):
    """Another source, image for image, strides and unreadable images included.

    Until `fill` or `attach` was called it decodes as the source does. What cannot be read is not
    kept: such a row asks the source each time, and gives its error.

    Args:
        source: An opened source.
        cache: ``ram``, a folder, or None to keep nothing.
        side: Images whose shorter side is longer are scaled down to it, with antialiasing, kept or
            not; the fingerprint then is another.
    """

    def __init__(self, source: Source, cache: str | Path | None, side: int | None = None) -> None:
        super().__init__(source)
        self.cache = cache if cache in (None, "ram") else expand(str(cache))
        self.side = side
        self._images: PackedImages | None = None
        self._home: MemoryHome | None = None
        self._folder: Path | None = None

    # ---------------------------------------------------------------- what is kept

    def fill(self, workers: int) -> None:
        """Decode every image once and keep it, unless that was done before.

        Processes of a machine that come together fill one cache. An interrupted one is gone on
        with, but for one in memory, which ends with its process.

        Args:
            workers: Processes that decode.

        Raises:
            RefusedRunError: there is too little room, or the folder cannot be written.
        """
        if self.cache is None or self._images is not None:
            return
        why = self._pointless()
        if why:
            _log.info("data.%s: data.cache is not used: %s.", self.split, why)
            return
        shelf = self._shelf(create=True)
        if shelf is None:
            raise RuntimeError("a shelf that was to be made is not there")
        try:
            with shelf.filling() as folder:
                if folder is not None:
                    Filling(self, folder, str(self.cache), workers).run()
        except BaseException:
            self.release()
            raise
        self._open(shelf)

    def attach(self) -> None:
        """Use the images that were kept before, if they were; decode none."""
        if self.cache is None or self._images is not None or self._pointless():
            return
        shelf = self._shelf(create=False)
        if shelf is not None and shelf.find() is not None:
            self._open(shelf)

    def release(self) -> None:
        """Give memory back (the last process does); a folder stays."""
        self._images = self._folder = None
        if self._home is not None:
            self._home.leave()
            self._home = None

    def _pointless(self) -> str:
        if self.random:
            return "its images may be others at each load (a dataset with transforms of its own)"
        return "its images are in memory already" if self.in_memory else ""

    def _shelf(self, *, create: bool) -> Shelf | None:
        """Return the place of these images; None where `create` is not set and there is none."""
        if self.cache != "ram":
            return Shelf(Path(str(self.cache)), self._name)
        self._home = self._home or MemoryHome(self._name)
        folder = self._home.join(create=create)
        return None if folder is None else Shelf(folder, "images")

    def _open(self, shelf: Shelf) -> None:
        self._folder = shelf.find()
        if self._folder is None:
            raise FileNotFoundError(f"{shelf.base / shelf.name} was removed while it was opened")
        with refusing():
            self._images = PackedImages(self._folder)
        _log.info("data.%s: images come decoded from %s.", self.split, self._folder)

    @cached_property
    def _name(self) -> str:
        """The kind of source and a hash of what decides the pixels.

        That is the rows, the files' sizes and times, and the scaling. Files are asked once, as the
        index is read once: within a run the images are those that it began with.
        """
        about = [FORMAT, self.source.fingerprint(), self.side]
        digest = hashlib.sha256(json.dumps(about).encode())
        for stamps in _stamps(self.source):
            digest.update(stamps)
        *_, innermost = lineage(self.source)
        return f"{type(innermost).__name__.lower()}-{digest.hexdigest()[:24]}"

    # ---------------------------------------------------------------- a source

    def __len__(self) -> int:
        return len(self.source)

    def load(self, i: int) -> Tensor:
        """Return the image as it was kept, or as the source gives it."""
        if self._images is not None and 0 <= i < len(self._images):
            kept = self._images.read(i)
            if kept is not None:
                return kept
        return shrink(self.source.load(i), self.side)

    def file(self, i: int) -> bytes | None:
        """Return the source's file of this row, or None."""
        return self.source.file(i)

    def id(self, i: int) -> str:
        """Return the source's name of this row."""
        return self.source.id(i)

    def stamp(self, i: int) -> str:
        """Return the source's stamp of this row."""
        return self.source.stamp(i)

    def fingerprint(self) -> str:
        """Return the source's fingerprint; with `side`, a hash of it and of the side."""
        own = self.source.fingerprint()
        return (
            own if self.side is None else hashlib.sha256(f"{own} {self.side}".encode()).hexdigest()
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave the images and the claim on memory behind: a worker opens the folder itself."""
        left = {"_images": None, "_home": None, "labels": None, "classes": None}
        return {**self.__dict__, **left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._like_source()
        if self._folder is not None:
            self._images = self._reopened(self._folder)

    def _reopened(self, folder: Path) -> PackedImages:
        try:
            return PackedImages(folder)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"the decoded images of data.{self.split} are gone from {folder}: was the folder "
                "removed during the run? Start again; they are decoded anew."
            ) from error


def shrink(image: Tensor, side: int | None) -> Tensor:
    """Scale an image down so that its shorter side is at most ``side`` pixels."""
    height, width = image.shape[1:]
    shorter = min(height, width)
    if side is None or shorter <= side:
        return image
    return resize(image, height * side // shorter, width * side // shorter, "bilinear")


def decoded_in(source: Source) -> Decoded | None:
    """Return the `Decoded` among a source and those it takes its rows from."""
    return next((one for one in lineage(source) if isinstance(one, Decoded)), None)


def _stamps(source: Source) -> Iterator[bytes]:
    """Yield the stamps of all rows, in order; sources without files have none."""

    def some(start: int) -> bytes:
        rows = range(start, min(start + _ROWS_AT_ONCE, len(source)))
        return "\n".join(map(source.stamp, rows)).encode()

    with ThreadPoolExecutor(_THREADS) as threads:
        yield from threads.map(some, range(0, len(source), _ROWS_AT_ONCE))
