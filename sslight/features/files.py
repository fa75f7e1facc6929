"""The files of one split, written row by row from any number of processes.

Rows are written with ``pwrite`` into files of their final size. Nothing is mapped while writing, so
that memory stays flat; no two processes ever write the same byte.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sslight.features.ids import write_ids
from sslight.features.manifest import LayerEntry, layer_file
from sslight.features.pending import CHUNK
from sslight.utils import sync_folder

FLUSH_ROWS = 4096


class Labels(Protocol):
    """An array, or what reads its rows a slice at a time."""

    @property
    def dtype(self) -> Any:
        """Type of a number."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, and what a row is."""

    def __getitem__(self, rows: slice, /) -> np.ndarray:
        """Some rows."""


def create_split(
    folder: Path,
    count: int,
    layers: Mapping[str, LayerEntry],
    *,
    labels: Labels | None,
    ids: Iterable[str],
) -> None:
    """Make the files of a split at their final size, with no row done, and then show the folder."""
    temporary = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for name, entry in layers.items():
        with open(temporary / layer_file(name), "wb") as file:
            header = {"descr": entry.dtype, "fortran_order": False, "shape": (count, *entry.shape)}
            np.lib.format.write_array_header_2_0(file, header)
            file.truncate(file.tell() + count * _row_bytes(entry))
    for name in ("done", "ok"):
        with open(temporary / name, "wb") as file:
            file.truncate(count)
    if labels is not None:
        _write_labels(temporary / "labels.npy", labels)
    write_ids(temporary, ids, count)
    if (folder / "done").exists():  # left by a process killed before the manifest named it
        shutil.rmtree(folder)
    os.rename(temporary, folder)
    sync_folder(folder.parent)


def _write_labels(path: Path, labels: Labels) -> None:
    with open(path, "wb") as file:
        descr = np.lib.format.dtype_to_descr(labels.dtype)
        header = {"descr": descr, "fortran_order": False, "shape": labels.shape}
        np.lib.format.write_array_header_1_0(file, header)
        for at in range(0, labels.shape[0], CHUNK):
            np.ascontiguousarray(labels[at : at + CHUNK]).tofile(file)


def _row_bytes(entry: LayerEntry) -> int:
    return int(np.dtype(entry.dtype).itemsize * np.prod(entry.shape, dtype=np.int64))


class RowWriter:
    """Writes rows of a split; a row is marked as done after its block has been flushed to disk.

    Args:
        folder: Made by :func:`create_split`.
        layers: As given there.
        flush_rows: Rows between two flushes, the most that a power cut can cost.
    """

    def __init__(
        self, folder: Path, layers: Mapping[str, LayerEntry], flush_rows: int = FLUSH_ROWS
    ):
        self.folder, self.layers, self.flush_rows = folder, dict(layers), flush_rows
        self._files = {name: open(folder / layer_file(name), "r+b") for name in layers}  # noqa: SIM115
        self._starts = {name: _data_start(file) for name, file in self._files.items()}
        self._done = open(folder / "done", "r+b")  # noqa: SIM115 (open as long as the writer)
        self._ok = open(folder / "ok", "r+b")  # noqa: SIM115
        self._pending: list[np.ndarray] = []

    def write(self, rows: np.ndarray, features: Mapping[str, np.ndarray], ok: np.ndarray) -> None:
        """Write the features of ``rows``; where ``ok`` is false a row becomes NaN."""
        for name, entry in self.layers.items():
            block = np.ascontiguousarray(features[name], dtype=entry.dtype)
            if block.shape != (len(rows), *entry.shape):
                raise ValueError(
                    f"{self.folder}: layer {name!r} has rows of shape {block.shape[1:]}, the store "
                    f"{entry.shape}. A stored layer has one shape: is the view's size fixed?"
                )
            if not ok.all():
                block = np.where(_like(ok, block), block, np.array(np.nan, block.dtype))
            self._put(self._files[name], self._starts[name], rows, block, _row_bytes(entry))
        self._put(self._ok, 0, rows, np.ascontiguousarray(ok, np.uint8), 1)
        self._pending.append(rows)
        if sum(map(len, self._pending)) >= self.flush_rows:
            self.flush()

    def flush(self) -> None:
        """Bring what was written to disk, then mark its rows as done."""
        if not self._pending:
            return
        for file in (*self._files.values(), self._ok):
            os.fsync(file.fileno())
        rows = np.concatenate(self._pending)
        self._put(self._done, 0, rows, np.ones(len(rows), np.uint8), 1)
        self._pending = []

    def close(self) -> None:
        """Flush and close the files."""
        self.flush()
        os.fsync(self._done.fileno())
        for file in (*self._files.values(), self._ok, self._done):
            file.close()

    def _put(self, file: Any, start: int, rows: np.ndarray, block: np.ndarray, size: int) -> None:
        """Write the block's rows to their places, neighbours in one call."""
        data = block.reshape(-1).view(np.uint8).data
        cuts = np.flatnonzero(np.diff(rows) != 1) + 1
        for first, last in zip([0, *cuts], [*cuts, len(rows)], strict=True):
            place = start + int(rows[first]) * size
            _write_all(file.fileno(), data[first * size : last * size], place)


def _write_all(handle: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(handle, data, offset)
        data, offset = data[written:], offset + written


def _data_start(file: Any) -> int:
    np.lib.format.read_magic(file)
    np.lib.format.read_array_header_2_0(file)
    return int(file.tell())


def _like(ok: np.ndarray, block: np.ndarray) -> np.ndarray:
    return ok.reshape(-1, *[1] * (block.ndim - 1)).astype(bool)
