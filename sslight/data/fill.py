"""One pass over a source that keeps its decoded images."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sslight.cores import usable_cores
from sslight.data.errors import ImageError
from sslight.data.loader import WorkerOptions, batches_of
from sslight.data.packed import PackedWriter, pack
from sslight.data.room import free_in_memory, free_on_disk, in_bytes
from sslight.data.sources.base import Source
from sslight.errors import RefusedRunError

_log = logging.getLogger("sslight")

_SAMPLE = 32  # images that are decoded to estimate the size of all
_CHUNK = 8_000_000  # bytes that a worker hands over at once
_SPARE = 0.05  # of the free space is left alone
_EVERY = 10.0  # seconds between two lines of the log, and between two saves


@dataclass
class Filling:
    """What is to be kept, and where.

    Attributes:
        source: An opened source whose `load` always gives the same image.
        folder: The unfinished cache: empty, or with what an earlier process left.
        where: The folder or "ram", as the user named it.
        workers: Processes that decode; 0 decodes in this one.
    """

    source: Source
    folder: Path
    where: str
    workers: int

    @property
    def name(self) -> str:
        """The split, as a key."""
        return f"data.{self.source.split}"

    def run(self) -> None:
        """Decode what is not there yet.

        Raises:
            RefusedRunError: there is too little room; nothing is left behind that takes any.
        """
        writer = PackedWriter(self.folder)
        try:
            self._check_room(writer)
            self._fill(writer)
            with self._writing():
                writer.finish(split=self.source.split)
        except KeyboardInterrupt:
            writer.save()
            raise
        finally:
            writer.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # the room was taken by someone else; give back ours
            shutil.rmtree(self.folder)
            raise RefusedRunError(
                f"{self.name}: its decoded images cannot be kept in {self.where}: "
                f"{error.strerror or error}. {self._ways_out()}"
            ) from error

    def _check_room(self, writer: PackedWriter) -> None:
        self.mean = mean_bytes(self.source)
        todo = self.mean * (len(self.source) - writer.count)
        in_memory = self.where == "ram"
        free = (free_in_memory if in_memory else free_on_disk)(self.folder)
        where = "memory" if in_memory else self.where
        if todo > free * (1 - _SPARE):
            raise RefusedRunError(
                f"{self.name}: its {len(self.source):,} images take about {in_bytes(todo)} when "
                f"decoded, and {where} has {in_bytes(free)} free. {self._ways_out()}"
            )
        kept = f", {writer.count:,} are there already" if writer.count else ""
        _log.info(
            "%s: decoding %s images into %s, about %s%s.",
            *(self.name, f"{len(self.source):,}", where, in_bytes(todo), kept),
        )

    def _ways_out(self) -> str:
        other = "a folder on a disk with more room" if self.where == "ram" else "another folder"
        return (
            f"Give {other} (data.cache), keep smaller images (data.cache_side: 256 scales the "
            "shorter side), use fewer images (data.limit), or leave data.cache out."
        )

    def _fill(self, writer: PackedWriter) -> None:
        size = min(max(int(_CHUNK / max(self.mean, 1)), 1), 1024)
        rows = range(writer.count, len(self.source))
        chunks = [rows[at : at + size] for at in range(0, len(rows), size)]
        loader = WorkerOptions(self.workers).loader(_Chunks(self.source), chunks, persistent=False)
        told = _Told(self.name, len(self.source), writer.count)
        bad: list[str] = []
        with torch.random.fork_rng(
            devices=[]
        ):  # a loader draws a seed, which training must not see
            for pixels, numbers, reasons in cast(Iterator[_Packed], batches_of(loader)):
                with self._writing():
                    writer.add(pixels, numbers)
                    if told.due():
                        writer.save()
                        told.say(writer.count)
                bad += reasons[: 10 - len(bad)]
        told.end(writer.end)
        if bad:
            _log.warning("%s: %s cannot be read: %s", self.name, _first(bad), "; ".join(bad))


def _first(bad: list[str]) -> str:
    return "these images" if len(bad) < 10 else "images (the first ten)"


def mean_bytes(source: Source) -> float:
    """Return the mean size of a decoded image, from a sample; 0 where none of it can be read."""
    rows = np.linspace(0, len(source) - 1, min(_SAMPLE, len(source))).astype(int)
    images = [_loaded(source, int(i), []) for i in rows]
    sizes = [image.numel() for image in images if image is not None]
    return math.fsum(sizes) / len(sizes) if sizes else 0.0


def all_cores() -> int:
    """Return the number of workers that fill a cache while nothing else runs."""
    return min(usable_cores(), 32)


#: What a worker hands over: bytes, rows, and what could not be read.
_Packed = tuple[Tensor, Tensor, list[str]]


class _Chunks(Dataset[Any]):
    """Some rows at a time, packed by the worker: what it hands over is two tensors and words."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __getitems__(self, rows: Sequence[int]) -> _Packed:
        bad: list[str] = []
        return *pack([_loaded(self.source, i, bad) for i in rows]), bad


def _loaded(source: Source, i: int, bad: list[str]) -> Tensor | None:
    try:
        return source.load(i)
    except ImageError as error:
        bad.append(str(error))
        return None


class _Told:
    """Says now and then how far it is."""

    def __init__(self, name: str, total: int, done: int) -> None:
        self.name, self.total, self.before = name, total, done
        self.begun = self.last = time.monotonic()

    def due(self) -> bool:
        """Whether it is time for a line; asking starts the next interval."""
        now = time.monotonic()
        if now - self.last < _EVERY:
            return False
        self.last = now
        return True

    def say(self, done: int) -> None:
        """Log images done, images a second, and the time left."""
        rate = (done - self.before) / max(self.last - self.begun, 1e-3)
        _log.info(
            "%s: %s of %s images decoded, %.0f a second, %.0f s left",
            *(self.name, f"{done:,}", f"{self.total:,}", rate, (self.total - done) / rate),
        )

    def end(self, size: int) -> None:
        """Log that it is done."""
        seconds = time.monotonic() - self.begun
        _log.info("%s: decoded in %.1f s, %s are kept.", self.name, seconds, in_bytes(size))
