"""Reading lists of images: text, CSV and `.npy`, row by row."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Sequence

import numpy as np

from sslight.data.sources._paths import EXTENSIONS

PATH_COLUMNS = ("path", "image", "file", "filename", "file_name", "filepath", "image_path", "img")
LABEL_COLUMNS = ("label", "class", "target", "category")
SEPARATORS = {"tab": "\t", "comma": ",", "space": " "}
_NAME_END = re.compile(rf"\.(?:{'|'.join(EXTENSIONS)})(?=([\s,]))", re.IGNORECASE)
_IS_NAME = re.compile(rf"\.(?:{'|'.join(EXTENSIONS)})$", re.IGNORECASE)

Row = tuple[str, list[str]]
"""A path and the row's labels as text (none, one, or one per column)."""


def open_text(path: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, line) of what is neither blank nor a `#` comment, stripped."""
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, raw in enumerate(file, 1):
            line = raw.strip()
            if line and not line.startswith("#"):
                yield number, line


def read_text(path: str, separator: str, with_labels: bool) -> Iterator[Row]:
    """Yield the rows of a text list.

    Raises:
        ValueError: a line without a label in a list with labels, by its number.
    """
    for number, line in open_text(path):
        if separator == "auto":
            separator = guess_separator(line)
        if separator == "none":
            yield line, []
            continue
        at = _cut(line, separator)
        if at < 0:
            raise ValueError(
                f"{path}, line {number}: {line!r} has no label after a {separator}, unlike the "
                f"lines before it. Write one (-1 for none), or set separator: none if the lines "
                f"are paths only."
            )
        yield line[:at].rstrip(), [line[at + 1 :].strip()] if with_labels else []


def guess_separator(line: str) -> str:
    """Return what parts path and label in the first line: tab, comma, space or none."""
    if "\t" in line:
        return "tab"
    for name in ("comma", "space"):
        at = _after_name(line, SEPARATORS[name])
        if at >= 0 and not _IS_NAME.search(line):
            return name
    return "none"


def _after_name(line: str, separator: str) -> int:
    """Return where the first separator right after an image's extension is, or -1."""
    for match in _NAME_END.finditer(line):
        if match.group(1) == separator:
            return match.end()
    return -1


def _cut(line: str, separator: str) -> int:
    character = SEPARATORS[separator]
    if separator == "tab":
        return line.find(character)
    at = _after_name(line, character)
    return at if at >= 0 else line.rfind(character)


def read_csv(path: str, delimiter: str, path_column: str, labels: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a CSV file with a header; empty lines are skipped."""
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter)
        header = [name.strip() for name in next(reader, [])]
        at, columns = header.index(path_column), [header.index(name) for name in labels]
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                raise ValueError(
                    f"{path}, line {reader.line_num}: {len(row)} fields, but the header has "
                    f"{len(header)} ({', '.join(header)}). Put fields that hold a "
                    f"{delimiter!r} in quotes."
                )
            yield row[at].strip(), [row[c].strip() for c in columns]


def csv_columns(
    path: str, delimiter: str, path_column: str | None, labels: list[str] | None
) -> tuple[str, list[str]]:
    """Return the column of paths and those of labels: as asked for, else by their usual names.

    Raises:
        ValueError: there is no such column; the error lists those there are.
    """
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        header = [name.strip() for name in next(csv.reader(file, delimiter=delimiter), [])]
    usual = {name.lower(): name for name in reversed(header)}
    wanted = [path_column] if path_column else []
    found = wanted or [usual[name] for name in PATH_COLUMNS if name in usual]
    if labels is None:
        labels = [usual[name] for name in LABEL_COLUMNS if name in usual][:1]
    absent = [name for name in [*wanted, *labels] if name not in header]
    if absent or not found:
        problem = f"no column {', '.join(absent)}" if absent else "no column of paths"
        raise ValueError(
            f"{path}: {problem}. The header has: {', '.join(header) or 'nothing'}. A column of "
            f"paths is called {', '.join(PATH_COLUMNS)}, or named by path_column; columns of "
            f"labels are named by labels. A list without header ends in .txt."
        )
    return found[0], labels


def load_array(path: str) -> np.ndarray:
    """Map a `.npy` file.

    Raises:
        ValueError: it holds Python objects, which only pickle can read (and pickle runs code).
    """
    try:
        values: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise ValueError(
            f"{path} cannot be read as a plain array ({error}). An array of Python objects is "
            f"saved as text by: np.save(path, array.astype(str))."
        ) from error
    return values


def read_npy(path: str) -> Iterator[Row]:
    """Yield the paths of a one-dimensional array of text."""
    array = load_array(path)
    if array.ndim != 1 or array.dtype.kind not in "US":
        raise ValueError(
            f"{path}: an array of {array.dtype} {list(array.shape)}; expected one dimension of "
            f"text (dtype U or S), one path each."
        )
    for at in range(0, len(array), 65536):
        for item in array[at : at + 65536].tolist():
            yield (os.fsdecode(item) if isinstance(item, bytes) else item), []
