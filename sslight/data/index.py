"""The index of a source: names, labels and more as packed arrays, memory-mapped from a cache.

A Python list of ten million paths costs a gigabyte, and again in every worker that touches it.
Here the names are one uint8 blob with int64 offsets beside it, each array a `.npy` file that every
process maps read-only: workers share the pages, and pickling an index sends the folder's name.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

_FORMAT = 1


class Packer:
    """Collects names (bytes, any encoding) into one blob; no object per name is kept."""

    def __init__(self) -> None:
        self._blob = bytearray()
        self._ends = array("q", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def extend(self, names: Iterable[bytes]) -> None:
        """Append names in order."""
        at = self._ends[-1]
        for name in names:
            self._blob += name
            at += len(name)
            self._ends.append(at)

    def arrays(self, prefix: str = "name") -> dict[str, np.ndarray]:
        """Return the blob and the `N + 1` offsets, as views (append no more after this)."""
        return {
            f"{prefix}_bytes": np.frombuffer(self._blob, dtype=np.uint8),
            f"{prefix}_ends": np.frombuffer(self._ends, dtype=np.int64),
        }


@dataclass(frozen=True)
class Index:
    """Named arrays plus a small dict.

    Attributes:
        arrays: `name_bytes` and `name_ends` (the ids), perhaps `labels`, and what a source adds.
        meta: JSON values: `classes`, `fingerprint`, and what a source adds.
        folder: where it lies on disk, None while it is only in memory.
    """

    arrays: dict[str, np.ndarray]
    meta: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @classmethod
    def pack(
        cls,
        names: Packer,
        labels: np.ndarray | None = None,
        classes: list[str] | None = None,
        arrays: dict[str, np.ndarray] | None = None,
        **meta: Any,
    ) -> Index:
        """Make an index in memory.

        Args:
            names: the ids, in dataset order.
            labels: int64 `[N]` or int8 `[N, K]`.
            classes: the class names.
            arrays: further arrays; they do not enter the fingerprint.
            meta: further JSON values; they do not enter the fingerprint.
        """
        named = names.arrays()
        if labels is not None:
            named["labels"] = labels
        fingerprint = _fingerprint([*named.values()], json.dumps(classes))
        known = {"classes": classes, "fingerprint": fingerprint, "format": _FORMAT}
        return cls({**named, **(arrays or {})}, {**meta, **known})

    def __len__(self) -> int:
        return len(self.arrays["name_ends"]) - 1

    def name(self, i: int, prefix: str = "name") -> bytes:
        """Return name `i`; negative or too large rows raise IndexError."""
        ends = self.arrays[f"{prefix}_ends"]
        if not 0 <= i < len(ends) - 1:
            raise IndexError(f"row {i} of an index with {len(ends) - 1} rows")
        return self.arrays[f"{prefix}_bytes"][int(ends[i]) : int(ends[i + 1])].tobytes()

    @property
    def labels(self) -> np.ndarray | None:
        """The labels, memory-mapped if the index is."""
        return self.arrays.get("labels")

    def content_hash(self) -> str:
        """Hash everything, so that equal indexes share a name on disk."""
        names = json.dumps([sorted(self.arrays), self.meta], sort_keys=True)
        return _fingerprint([self.arrays[k] for k in sorted(self.arrays)], names)

    def save(self, folder: Path) -> None:
        """Write every array and, last, `meta.json` into an existing folder."""
        for name, values in self.arrays.items():
            np.save(folder / f"{name}.npy", values, allow_pickle=False)
        meta = {"arrays": sorted(self.arrays), "meta": self.meta}
        (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Index:
        """Map a saved index.

        Raises:
            OSError, ValueError, KeyError: it is not there, damaged, or of another format.
        """
        stored = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        if stored["meta"]["format"] != _FORMAT:
            raise ValueError(f"index format {stored['meta']['format']} in {folder}")
        arrays = {name: _map(folder / f"{name}.npy") for name in stored["arrays"]}
        return cls(arrays, stored["meta"], folder)


def _map(path: Path) -> np.ndarray:
    # As a plain ndarray: slicing a np.memmap costs 20 times as much, and the map stays shared.
    mapped: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped.view(np.ndarray)


def _fingerprint(arrays: Iterable[np.ndarray], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for values in arrays:
        digest.update(f"{values.dtype.str}{values.shape}".encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()
