"""Decoded images in a folder: their bytes one after the other, and five numbers for each.

    pixels      the bytes of all images that could be read, in the order of the rows
    rows        int64 [N, 5]: first byte, channels, height, width, channels innermost in memory or
                not; a first byte of -1 marks an image that could not be read
    meta.json   written last

Images are read by `pread`, not through a map: a broken disk is then an error of one image and not
the end of the process, a cold disk sees one request per image and not one per page, and what was
read never counts as a worker's memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

FORMAT = 1
_COLUMNS = 5
_ROW = _COLUMNS * 8


def pack(images: Sequence[Tensor | None]) -> tuple[Tensor, Tensor]:
    """Lay images one after the other.

    Args:
        images: uint8 `[C, H, W]` of any sizes, in either memory order; None for "unreadable".

    Returns:
        Their bytes, and the rows `[len(images), 5]` that say where each begins.
    """
    rows = torch.full((len(images), _COLUMNS), -1, dtype=torch.int64)
    flat: list[Tensor] = []
    end = 0
    for i, image in enumerate(images):
        if image is None:
            continue
        innermost = not image.is_contiguous() and image.permute(1, 2, 0).is_contiguous()
        flat.append((image.permute(1, 2, 0) if innermost else image).reshape(-1))
        rows[i] = torch.tensor([end, *image.shape, int(innermost)])
        end += image.numel()
    return torch.cat(flat) if flat else torch.empty(0, dtype=torch.uint8), rows


class PackedImages:
    """A finished folder, read by any number of processes.

    Raises:
        OSError, ValueError, KeyError: it is not there, damaged, or of another format.
    """

    def __init__(self, folder: Path) -> None:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        if meta["format"] != FORMAT or (folder / "pixels").stat().st_size != meta["bytes"]:
            raise ValueError(
                f"the decoded images in {folder} are damaged; remove the folder, and they are "
                "decoded again"
            )
        self.folder = folder
        self.bytes: int = meta["bytes"]
        self._rows = _map_rows(folder / "rows")
        self._file = os.open(folder / "pixels", os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, i: int) -> Tensor | None:
        """Return image `i` as it was packed, strides too, in memory of its own; None if unread."""
        start, channels, height, width, innermost = self._rows[i].tolist()
        if start < 0:
            return None
        pixels = torch.empty(channels * height * width, dtype=torch.uint8)
        if os.preadv(self._file, [pixels.numpy().data], start) != len(pixels):
            raise OSError(f"{self.folder / 'pixels'} ends before image {i}")
        if innermost:
            return pixels.view(height, width, channels).permute(2, 0, 1)
        return pixels.view(channels, height, width)


class PackedWriter:
    """Fills a folder from the front, and goes on where an earlier process was stopped.

    Rows reach the disk only after their pixels have, so whole rows at the front are right.

    Args:
        folder: An existing folder, empty or with what an earlier writer left.

    Attributes:
        count: Rows written so far.
        end: Bytes of pixels so far.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pixels = open(folder / "pixels", "ab")  # noqa: SIM115 (closed by close)
        self._rows = open(folder / "rows", "ab")  # noqa: SIM115
        self.count, self.end = self._found()
        self._pixels.truncate(self.end)
        self._rows.truncate(self.count * _ROW)
        self._pending: list[np.ndarray] = []

    def _found(self) -> tuple[int, int]:
        count = self._rows.tell() // _ROW
        rows = _map_rows(self._folder / "rows", count)
        kept = rows[rows[:, 0] >= 0]
        end = int(kept[-1, 0] + kept[-1, 1:4].prod()) if len(kept) else 0
        return (count, end) if end <= self._pixels.tell() else (0, 0)

    def add(self, pixels: Tensor, rows: Tensor) -> None:
        """Append what `pack` returned."""
        values = rows.numpy().copy()
        values[values[:, 0] >= 0, 0] += self.end
        self._pixels.write(pixels.numpy().data)
        self._pending.append(values)
        self.count += len(values)
        self.end += len(pixels)

    def save(self) -> None:
        """Let everything added so far survive the end of the process, and of the machine."""
        _sync(self._pixels)
        for values in self._pending:
            self._rows.write(values.tobytes())
        _sync(self._rows)
        self._pending = []

    def finish(self, **meta: Any) -> None:
        """Save, and mark the folder as complete."""
        self.save()
        text = json.dumps({"format": FORMAT, "images": self.count, "bytes": self.end, **meta})
        with open(self._folder / "meta.json", "w", encoding="utf-8") as file:
            file.write(text)
            _sync(file)

    def close(self) -> None:
        """Close the files; what was not saved is written again by the next one."""
        for file in (self._pixels, self._rows):
            with contextlib.suppress(OSError):  # a full disk, which was said when it was written to
                file.close()


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _map_rows(path: Path, count: int | None = None) -> np.ndarray:
    count = path.stat().st_size // _ROW if count is None else count
    if not count:  # nothing can be mapped
        return np.empty((0, _COLUMNS), dtype=np.int64)
    # As a plain ndarray: indexing a np.memmap costs several times as much.
    return np.memmap(path, np.int64, "r", shape=(count, _COLUMNS)).view(np.ndarray)
