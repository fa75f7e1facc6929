"""Ten million paths as two flat files: all bytes, and where each one ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_CHUNK = 65536


def write_ids(folder: Path, ids: Iterable[str], count: int) -> None:
    """Write ``ids`` and ``ids.offsets.npy`` into ``folder``, a chunk at a time."""
    offsets = np.lib.format.open_memmap(
        folder / "ids.offsets.npy", mode="w+", dtype=np.int64, shape=(count + 1,)
    )
    end = written = 0
    with open(folder / "ids", "wb") as file:
        for number, text in enumerate(ids):
            if number >= count:
                raise ValueError(f"{folder}: more than {count} ids were given for {count} rows.")
            data = text.encode("utf-8", "surrogateescape")
            end += len(data)
            offsets[number + 1] = end
            file.write(data)
            written = number + 1
    if written != count:
        raise ValueError(f"{folder}: {written} ids were given for {count} rows.")
    offsets.flush()


class PackedIds(Sequence[str]):
    """A read-only list of strings that stays on disk."""

    def __init__(self, folder: Path):
        self._offsets = np.load(folder / "ids.offsets.npy", mmap_mode="r")
        path = folder / "ids"
        empty = path.stat().st_size == 0  # numpy cannot map an empty file
        self._bytes = np.zeros(0, np.uint8) if empty else np.memmap(path, np.uint8, "r")

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [self._one(k) for k in range(*i.indices(len(self)))]
        if isinstance(i, np.ndarray | list):
            return [self._one(int(k)) for k in np.arange(len(self))[i]]
        return self._one(range(len(self))[i])

    def _one(self, i: int) -> str:
        data = self._bytes[self._offsets[i] : self._offsets[i + 1]].tobytes()
        return data.decode("utf-8", "surrogateescape")
