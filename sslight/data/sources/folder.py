"""Source `folder`: every image under one folder, or under several."""

from __future__ import annotations

import os
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from sslight.data.decode import MAX_PIXELS
from sslight.data.index import Index, Packer
from sslight.data.labelling import LabelColumn
from sslight.data.sources._indexed import IndexedSource
from sslight.data.sources._paths import as_list, distinct_names, expand, missing, suffixes

_SETTLED_NS = 2_000_000_000  # a folder changed this recently may change again unseen


class Folder(IndexedSource):
    """Images under a folder, found recursively, in byte order of their relative path.

    Hidden files and folders are skipped, links to folders are followed (not in circles). The
    index is cached; it is built again when the modification time of any folder in it has changed,
    so files that come or go are seen, and files replaced in place need no new index.

    Args:
        root: one folder, or a list whose rows are concatenated; `~` and `$VARIABLES` are
            replaced. Ids are paths relative to the root, with the root's own name before them if
            there are several.
        labels: `auto`: the first-level sub-folder, if every image lies in one and there are two
            or more; else no labels. `folder`: the first-level sub-folder, also if there is only
            one; images outside have none (-1). `none`: no labels. Classes are the sorted names
            of sub-folders that hold an image.
        extensions: file names that count as images, in place of the usual (jpg, png, ...).
        max_pixels: refuse larger images, see `sslight.data.decode.decode`.
    """

    def __init__(
        self,
        root: str | Path | list[str | Path],
        *,
        labels: Literal["auto", "folder", "none"] = "auto",
        extensions: list[str] | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if labels not in ("auto", "folder", "none"):
            raise ValueError(f"folder: labels={labels!r}; allowed: auto, folder, none")
        self.roots = [expand(path) for path in as_list(root)]
        if not self.roots:
            raise ValueError("folder: root is an empty list; give one folder or several")
        self.root_names = distinct_names(self.roots)
        self.rule = labels
        self.suffixes = suffixes(extensions)
        self.max_pixels = max_pixels

    def _key(self) -> Mapping[str, object]:
        roots = [os.path.realpath(root) for root in self.roots]
        return {"roots": roots, "labels": self.rule, "suffixes": [str(s) for s in self.suffixes]}

    def _fresh(self, index: Index) -> bool:
        stamps = index.arrays["folder_mtimes"].tolist()
        try:
            return all(
                os.stat(index.name(i, "folder")).st_mtime_ns == stamp
                for i, stamp in enumerate(stamps)
            )
        except OSError:
            return False

    def _build(self) -> Index:
        names, seen, label = Packer(), _Seen(), LabelColumn(numbers=False)
        counts: list[int] = []
        for root in self.roots:
            before = len(names)
            self._check_root(root)
            found = _Seen(seen.folders, seen.mtimes)
            for paths in _walk(os.fsencode(root), b"", self.suffixes, found, ()):
                names.extend(paths)
                label.add(_first_level(paths[0]), len(paths))
            counts.append(len(names) - before)
            if not counts[-1]:
                raise ValueError(self._nothing(root, found))
        values, classes = self._labels(label)
        stamps = np.frombuffer(seen.mtimes, dtype=np.int64)
        arrays = {**seen.folders.arrays("folder"), "folder_mtimes": stamps}
        return Index.pack(names, values, classes, arrays, roots=counts)

    def _labels(self, column: LabelColumn) -> tuple[np.ndarray | None, list[str] | None]:
        if self.rule == "none":
            return None, None
        values, classes = column.finish()
        if self.rule == "auto" and (len(classes) < 2 or values.min() < 0):
            return None, None
        if not classes:
            raise ValueError(
                f"data.{self.split}: labels=folder, but all {len(values)} images lie directly in "
                f"{', '.join(self.roots)}: there is no sub-folder to take a label from. Use "
                f"labels: none, or move the images into one folder per class."
            )
        return values, [os.fsencode(c).decode("utf-8", "backslashreplace") for c in classes]

    def _check_root(self, root: str) -> None:
        if not os.path.exists(root):
            raise FileNotFoundError(f"data.{self.split}: folder root {missing(root)}")
        if not os.path.isdir(root):
            raise NotADirectoryError(
                f"data.{self.split}: folder root {root} is a file. Give the folder that holds the "
                f"images; for a list of paths use `name: filelist`, for archives `name: tar`."
            )

    def _nothing(self, root: str, seen: _Seen) -> str:
        kinds = ", ".join(f"{n} {kind}" for kind, n in seen.others.most_common(5)) or "nothing"
        looked = " ".join(s.decode() for s in self.suffixes)
        return (
            f"data.{self.split}: no image under {root}. Found {kinds} in {seen.count} folder(s); "
            f"looked for {looked}. Name other file types with extensions: [...]."
        )

    def _root_of(self, i: int) -> int:
        counts: list[int] = self.index.meta["roots"]
        return int(np.searchsorted(np.cumsum(counts), i, side="right")) if len(counts) > 1 else 0

    def id(self, i: int) -> str:
        """Return the path relative to the root (with the root's name if there are several)."""
        name = super().id(i)
        return f"{self.root_names[self._root_of(i)]}/{name}" if len(self.roots) > 1 else name

    def _path(self, i: int) -> bytes:
        return os.fsencode(self.roots[self._root_of(i)]) + b"/" + self.index.name(i)

    def _read(self, i: int) -> bytes:
        with open(self._path(i), "rb") as file:
            return file.read()


@dataclass
class _Seen:
    """What a walk came across beside images."""

    folders: Packer = field(default_factory=Packer)
    mtimes: array[int] = field(default_factory=lambda: array("q"))
    others: Counter[str] = field(default_factory=Counter)
    count: int = 0

    def folder(self, path: bytes, status: os.stat_result) -> None:
        settled = time.time_ns() - status.st_mtime_ns > _SETTLED_NS
        self.folders.extend([path])
        self.mtimes.append(status.st_mtime_ns if settled else -1)
        self.count += 1


def _first_level(path: bytes) -> str:
    """Return the first folder of a relative path, "" for a file beside the folders."""
    first, slash, _ = path.partition(b"/")
    return os.fsdecode(first) if slash else ""


def _walk(
    root: bytes, inside: bytes, images: tuple[bytes, ...], seen: _Seen, above: tuple[object, ...]
) -> Iterator[list[bytes]]:
    """Yield the relative paths of the images in runs of one folder, in byte order.

    A folder sorts as if its name ended in a slash, so that walking it in place gives the order
    that sorting all relative paths would give, without holding them.
    """
    folder = root + b"/" + inside
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:  # a link back to a folder that we are in
        return
    seen.folder(folder, status)
    run: list[bytes] = []
    for name in _listing(folder, images, seen):
        if not name.endswith(b"/"):
            run.append(inside + name)
            continue
        if run:
            yield run
            run = []
        yield from _walk(root, inside + name, images, seen, (*above, here))
    if run:
        yield run


def _listing(folder: bytes, images: tuple[bytes, ...], seen: _Seen) -> list[bytes]:
    names: list[bytes] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith(b"."):
                continue
            if entry.is_dir():
                names.append(name + b"/")
            elif name.lower().endswith(images) and (entry.is_symlink() or entry.is_file()):
                names.append(name)  # a broken link too: it is named when it is read
            else:
                seen.others[os.fsdecode(os.path.splitext(name)[1]) or "without extension"] += 1
    return sorted(names)
