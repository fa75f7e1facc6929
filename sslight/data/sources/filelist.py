"""Source `filelist`: images named by a text file, a CSV or a `.npy` array."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from sslight.data.decode import MAX_PIXELS
from sslight.data.index import Index, Packer
from sslight.data.labelling import LabelColumn
from sslight.data.sources._indexed import IndexedSource
from sslight.data.sources._lists import Row, csv_columns, load_array, read_csv, read_npy, read_text
from sslight.data.sources._paths import expand, missing

_MULTI = {"": -1, "-1": -1, "0": 0, "1": 1, "-1.0": -1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


@dataclass(frozen=True)
class Prefix:
    """Paths that begin with `old` begin with `new` instead (a list made on another machine)."""

    old: str
    new: str


class FileList(IndexedSource):
    """Images named by a list, in its order; ids are the paths as they are written there.

    **Text** (any ending but the following): a path per line, blank lines and lines that begin
    with `#` left out, perhaps with a label after a tab, comma or space. `separator: auto` decides
    by the first line: tab if there is one; else comma or space if one comes right after an image's
    extension (and the line does not end in such an extension); else the lines are paths. Then
    every line is cut there: at the first tab, or at the first comma or space after an extension,
    else at the last. `my cat.jpg tabby cat` is `my cat.jpg` and `tabby cat`.

    **CSV** (`.csv`, `.tsv`): with a header; a column `path`, `image`, `file`, ... and perhaps
    `label`, `class`, `target` or `category`, or the columns you name.

    **`.npy`**: an array of text.

    Labels that are all integers are class numbers; other labels are sorted and numbered. Empty
    and -1 mean "none". Several label columns give multi-labels `[N, K]`: 1, 0, and -1 or empty
    for unknown. No image is looked at before it is loaded. The index is cached, keyed by the
    list's size, time and content.

    Args:
        path: the list.
        root: the folder that relative paths start from; default: the list's own.
        labels: CSV: a column, or several for multi-labels. Any list: a `.npy` file with a label
            per row (integers `[N]` or `[N, K]`, or text), or `none` to leave labels out. Default:
            what the list has.
        separator: what parts path and label in a text list.
        path_column: the column of paths in a CSV.
        prefix: rewrite the beginning of paths.
        max_pixels: refuse larger images, see `sslight.data.decode.decode`.
    """

    def __init__(
        self,
        path: str | Path,
        root: str | Path | None = None,
        labels: str | list[str] | None = None,
        *,
        separator: Literal["auto", "tab", "comma", "space", "none"] = "auto",
        path_column: str | None = None,
        prefix: Prefix | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if separator not in ("auto", "tab", "comma", "space", "none"):
            raise ValueError(
                f"filelist: separator={separator!r}; allowed: auto, tab, comma, space, none"
            )
        self.path = expand(path)
        self.root = expand(root) if root is not None else os.path.dirname(self.path)
        self.ending = os.path.splitext(self.path)[1].lower()
        self.label_rule = labels
        in_file = isinstance(labels, str) and labels.endswith(".npy")
        self.label_file = expand(str(labels)) if in_file else None
        self.separator = separator
        self.path_column = path_column
        self.prefix = Prefix(**prefix) if isinstance(prefix, dict) else prefix
        self.max_pixels = max_pixels

    def _key(self) -> Mapping[str, object]:
        files = [self.path, *([self.label_file] if self.label_file else [])]
        for file in files:
            if not os.path.isfile(file):
                raise FileNotFoundError(f"data.{self.split}: list {missing(file)}")
        rules = [self.label_rule, self.separator, self.path_column]
        old = self.prefix.old if self.prefix else None
        return {"files": [_stamp(file) for file in files], "rules": rules, "prefix": old}

    def _build(self) -> Index:
        rows, columns = self._rows()
        names, labels = Packer(), _Labels(columns, self.path)
        rewritten = 0
        for path, values in rows:
            name = os.fsencode(path)
            names.extend([name])
            labels.add(values)
            rewritten += self.prefix is not None and path.startswith(self.prefix.old)
        if not len(names):
            raise ValueError(f"data.{self.split}: the list {self.path} names no image")
        if self.prefix and not rewritten:
            raise ValueError(
                f"data.{self.split}: no path in {self.path} begins with prefix.old="
                f"{self.prefix.old!r}; the first is {os.fsdecode(Index.pack(names).name(0))!r}"
            )
        if self.label_file:
            return Index.pack(names, *_from_array(self.label_file, len(names)))
        return Index.pack(names, *labels.finish())

    def _rows(self) -> tuple[Iterator[Row], list[str]]:
        """Return the rows, and the names of the label columns if these are several."""
        wanted = self.label_rule != "none" and self.label_file is None
        if self.ending == ".npy":
            return read_npy(self.path), []
        if self.ending not in (".csv", ".tsv"):
            return read_text(self.path, self.separator, wanted), []
        asked = [self.label_rule] if isinstance(self.label_rule, str) else self.label_rule
        delimiter = "\t" if self.ending == ".tsv" else ","
        column, columns = csv_columns(
            self.path, delimiter, self.path_column, asked if wanted else []
        )
        rows = read_csv(self.path, delimiter, column, columns)
        return rows, columns if len(columns) > 1 else []

    def _path(self, i: int) -> bytes:
        name = self.index.name(i)
        if self.prefix is not None and name.startswith(os.fsencode(self.prefix.old)):
            name = os.fsencode(self.prefix.new) + name[len(os.fsencode(self.prefix.old)) :]
        return os.path.join(os.fsencode(self.root), name)

    def _read(self, i: int) -> bytes:
        with open(self._path(i), "rb") as file:
            return file.read()


class _Labels:
    """Gathers a list's labels: none, one a row, or `[N, K]`."""

    def __init__(self, columns: list[str], path: str) -> None:
        self._columns, self._path = columns, path
        self._one, self._many = LabelColumn(), array("b")
        self._rows = 0

    def add(self, values: list[str]) -> None:
        self._rows += 1
        if not self._columns:
            self._one.add(values[0]) if values else None
            return
        try:
            self._many.extend([_MULTI[value.lower()] for value in values])
        except KeyError as error:
            raise ValueError(
                f"{self._path}, image {self._rows}: {error.args[0]!r} in a column of a "
                f"multi-label; allowed: 1, 0, and -1 or nothing for unknown"
            ) from None

    def finish(self) -> tuple[np.ndarray | None, list[str] | None]:
        if self._columns:
            many = np.frombuffer(self._many, dtype=np.int8)
            return many.reshape(-1, len(self._columns)), self._columns
        return self._one.finish() if len(self._one) else (None, None)


def _from_array(path: str, rows: int) -> tuple[np.ndarray, list[str]]:
    """Return labels and class names from a `.npy` file."""
    values = load_array(path)
    if len(values) != rows or values.ndim > 2 or (values.ndim == 2 and values.dtype.kind in "US"):
        raise ValueError(
            f"{path}: labels {list(values.shape)} of {values.dtype} for {rows} images; expected "
            f"[{rows}] integers or text, or [{rows}, K] integers"
        )
    if values.ndim == 2:
        if values.dtype.kind not in "iub" or values.min() < -1 or values.max() > 1:
            raise ValueError(f"{path}: a multi-label holds 1, 0 and -1 only; this has others")
        return values.astype(np.int8), [str(k) for k in range(values.shape[1])]
    if values.dtype.kind not in "iuUS":
        raise ValueError(f"{path}: labels of {values.dtype}; expected integers or text")
    if values.dtype.kind == "i" and values.min() < -1:
        raise ValueError(
            f"{path}: label {values.min()}; class numbers are 0, 1, ..., and -1 = none"
        )
    column = LabelColumn()
    for value in values.tolist():
        column.add(os.fsdecode(value) if isinstance(value, bytes) else str(value))
    return column.finish()


def _stamp(path: str) -> list[object]:
    """Return what changes when a file does: size, time, and a hash of its two ends."""
    status = os.stat(path)
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        digest.update(file.read(1 << 23))
        file.seek(max(0, status.st_size - (1 << 23)))
        digest.update(file.read(1 << 23))
    return [os.path.realpath(path), status.st_size, status.st_mtime_ns, digest.hexdigest()]
