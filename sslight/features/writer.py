"""A store being written: one rank's view of it, and the merge of shards."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sslight.errors import RefusedRunError
from sslight.features.files import FLUSH_ROWS, Labels, RowWriter, create_split
from sslight.features.ids import PackedIds
from sslight.features.manifest import FILE, LayerEntry, Manifest, SplitEntry, layer_file
from sslight.features.pending import Pending, marks_in
from sslight.utils import write_atomically

_SHARD = re.compile(r"manifest\.rank(\d+)-of-(\d+)\.json")
_BLOCK = 4096


class StoreWriter:
    """One rank of an extraction into ``root``.

    On a shared file system rank 0 makes the files and every rank writes rows r, r + W, ... into
    them. With ``shared=False`` each rank makes ``<split>.rank<r>-of-<W>`` with its own rows, and
    :func:`merge_shards` puts them together once they lie in one folder.

    Args:
        root: Folder of the store.
        manifest: What is about to be extracted (its ``layers`` without shapes, no splits).
        rank: This process.
        world_size: All processes.
        shared: Whether all ranks see the same ``root``.
        timeout: Seconds to wait for rank 0 to make the files.
        flush_rows: Rows between two flushes.

    Raises:
        ValueError: ``root`` holds features of something else.
    """

    def __init__(
        self,
        root: Path,
        manifest: Manifest,
        *,
        rank: int = 0,
        world_size: int = 1,
        shared: bool = True,
        timeout: float = 600.0,
        flush_rows: int = FLUSH_ROWS,
    ):
        self.root, self.asked = root, manifest
        self.rank, self.world_size, self.shared = rank, world_size, shared or world_size == 1
        self.timeout, self.flush_rows = timeout, flush_rows
        root.mkdir(parents=True, exist_ok=True)
        self._check(self._read())

    def rows(self, count: int) -> range:
        """Dataset indices of this rank's rows."""
        return range(self.rank, count, self.world_size)

    def missing(self, split: str, entry: SplitEntry) -> Pending:
        """This rank's rows of a split that are not done."""
        rows = self.rows(entry.count)
        manifest = self._read()
        if manifest is None or split not in manifest.splits:
            return Pending(rows)
        self._check(manifest, split, entry)
        done = marks_in(self._folder(split) / "done", entry.count if self.shared else len(rows))
        return Pending(rows, done[rows.start :: rows.step] if self.shared else done)

    def open(
        self,
        split: str,
        entry: SplitEntry,
        layers: Mapping[str, LayerEntry],
        *,
        labels: Labels | None,
        ids: Any,
    ) -> SplitWriter:
        """Continue a split, or make it (rank 0; the others wait until it is there)."""
        manifest = self._read()
        known = manifest is not None and split in manifest.splits
        if not known and (self.rank == 0 or not self.shared):
            manifest = self._create(split, entry, layers, labels, ids)
        elif not known:
            manifest = self._wait_for(split)
        self._check(manifest, split, entry)
        stored = manifest.layers if manifest is not None else {}
        return SplitWriter(RowWriter(self._folder(split), stored, self.flush_rows), self._local)

    def _create(
        self,
        split: str,
        entry: SplitEntry,
        layers: Mapping[str, LayerEntry],
        labels: Labels | None,
        ids: Any,
    ) -> Manifest:
        rows = range(entry.count) if self.shared else self.rows(entry.count)
        mine = labels if labels is None or self.shared else labels[rows.start :: rows.step]
        names = (ids[i] for i in rows)
        create_split(self._folder(split), len(rows), layers, labels=mine, ids=names)
        before = self._read()
        splits = {**(before.splits if before else {}), split: entry}
        manifest = dataclasses.replace(self.asked, layers=dict(layers), splits=splits)
        write_atomically(self.root / self._file(), manifest.to_json().encode())
        return manifest

    def _wait_for(self, split: str) -> Manifest:
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
            manifest = self._read()
            if manifest is not None and split in manifest.splits:
                return manifest
            time.sleep(0.05)
        raise TimeoutError(
            f"rank {self.rank}: after {self.timeout:.0f} s rank 0 has not made {self.root}/{split}"
            ". Where the ranks do not share a file system, extract with shared=False."
        )

    def _check(
        self, found: Manifest | None, split: str | None = None, entry: SplitEntry | None = None
    ) -> None:
        if found is None:
            return
        different = found.differences(self.asked)
        if split is not None and entry is not None and split in found.splits:
            there = found.splits[split]
            if (there.count, there.fingerprint) != (entry.count, entry.fingerprint):
                different.append(
                    f"split {split!r}: there {there.count} images, index {there.fingerprint[:12]}, "
                    f"now {entry.count}, index {entry.fingerprint[:12]}"
                )
        if different:
            raise RefusedRunError(
                f"{self.root} holds features of something else:\n  "
                + "\n  ".join(different)
                + "\nGive another folder (`extract.out=...`), or remove this one."
            )

    def _read(self) -> Manifest | None:
        return Manifest.read(self.root, self._file())

    def _file(self) -> str:
        return FILE if self.shared else f"manifest{self._suffix()}.json"

    def _suffix(self) -> str:
        return "" if self.shared else f".rank{self.rank}-of-{self.world_size}"

    def _folder(self, split: str) -> Path:
        return self.root / f"{split}{self._suffix()}"

    def _local(self, rows: np.ndarray) -> np.ndarray:
        return rows if self.shared else (rows - self.rank) // self.world_size


class SplitWriter:
    """Writes rows, named by dataset index, of one split; a context manager."""

    def __init__(self, files: RowWriter, local: Any):
        self._files, self._local = files, local

    @property
    def layers(self) -> dict[str, LayerEntry]:
        """The stored layers with their shapes."""
        return self._files.layers

    def write(self, index: np.ndarray, features: Mapping[str, np.ndarray], ok: np.ndarray) -> None:
        """Write a block; see :meth:`RowWriter.write`."""
        self._files.write(self._local(index), features, ok)

    def __enter__(self) -> SplitWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._files.close()


def shards_in(root: Path) -> dict[int, dict[int, Manifest]]:
    """World size to rank to manifest of the shards that lie in ``root``."""
    found: dict[int, dict[int, Manifest]] = {}
    for path in sorted(root.iterdir()):
        match = _SHARD.fullmatch(path.name)
        manifest = Manifest.read(root, path.name) if match else None
        if match and manifest is not None:
            found.setdefault(int(match[2]), {})[int(match[1])] = manifest
    return found


def merge_shards(root: str | Path) -> None:
    """Make one store of the shards ``<split>.rank<r>-of-<W>`` in ``root``; the shards stay.

    Raises:
        ValueError: shards are missing, unfinished, or of different extractions.
    """
    root = Path(root)
    worlds = shards_in(root)
    if len(worlds) != 1:
        raise ValueError(
            f"{root}: expected shards of one extraction, found world sizes {[*worlds]}."
        )
    (world_size, manifests), *_ = worlds.items()
    asked = manifests[min(manifests)].splits
    busy = min(world_size, max((entry.count for entry in asked.values()), default=world_size))
    absent = sorted(set(range(busy)) - set(manifests))  # a rank beyond the last row has no shard
    if absent:
        raise ValueError(f"{root}: the shards of ranks {absent} of {world_size} are missing.")
    first = manifests[0]
    for rank, manifest in manifests.items():
        own = {split: entry for split, entry in first.splits.items() if rank < entry.count}
        if first.differences(manifest) or own != manifest.splits:
            raise ValueError(f"{root}: the shard of rank {rank} is of another extraction.")
    writer = StoreWriter(root, dataclasses.replace(first, splits={}))
    for split, entry in first.splits.items():
        busy = min(world_size, entry.count)
        shards = [root / f"{split}.rank{r}-of-{world_size}" for r in range(busy)]
        _merge_split(writer, split, entry, first.layers, shards)


def _merge_split(
    writer: StoreWriter,
    split: str,
    entry: SplitEntry,
    layers: Mapping[str, LayerEntry],
    shards: list[Path],
) -> None:
    for rank, shard in enumerate(shards):
        own = range(rank, entry.count, len(shards))
        left = len(Pending(own, marks_in(shard / "done", len(own))))
        if left:
            raise ValueError(f"{shard}: {left} rows are not done; run that rank again.")
    labels = _InterleavedLabels([s / "labels.npy" for s in shards]) if entry.labelled else None
    ids = _InterleavedIds([PackedIds(s) for s in shards])
    missing = writer.missing(split, entry)
    with writer.open(split, entry, layers, labels=labels, ids=ids) as out:
        for rows in missing.chunks():
            for rank, shard in enumerate(shards):
                mine = rows[rows % len(shards) == rank]
                for part, features, ok in _blocks(shard, layers, mine, len(shards)):
                    out.write(part, features, ok)


def _blocks(
    shard: Path, layers: Mapping[str, LayerEntry], rows: np.ndarray, world_size: int
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]]:
    if not len(rows):
        return
    arrays = {name: np.load(shard / layer_file(name), mmap_mode="r") for name in layers}
    ok = np.memmap(shard / "ok", np.uint8, "r")
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        local = block // world_size
        yield block, {name: array[local] for name, array in arrays.items()}, ok[local].astype(bool)


class _InterleavedLabels:
    """The shards' labels in dataset order, read a slice at a time."""

    def __init__(self, files: list[Path]):
        self._parts = [np.load(file, mmap_mode="r") for file in files]
        self.dtype = self._parts[0].dtype
        self.shape = (sum(map(len, self._parts)), *self._parts[0].shape[1:])

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.shape[0])
        world_size = len(self._parts)
        found = np.empty((stop - start, *self.shape[1:]), self.dtype)
        for rank, part in enumerate(self._parts):
            first = (rank - start) % world_size  # the first of these rows that is the rank's
            mine = found[first::world_size]
            at = (start + first) // world_size
            mine[:] = part[at : at + len(mine)]
        return found


class _InterleavedIds:
    def __init__(self, parts: list[PackedIds]):
        self._parts = parts

    def __getitem__(self, i: int) -> str:
        text: str = self._parts[i % len(self._parts)][i // len(self._parts)]
        return text
