"""A table with one row per image, written a block at a time: memory does not grow with it."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sslight.errors import RefusedRunError
from sslight.eval._rows import BLOCK, need
from sslight.eval.base import Subject

Columns = Mapping[str, Sequence[Any]]
Format = Literal["csv", "parquet"]


@dataclass(frozen=True)
class ImageTable:
    """Columns of some splits' images: ``path``, ``split``, ``ok``, ``label`` and a protocol's own.

    Attributes:
        subject: Where paths and labels come from.
        splits: The splits, one after the other.
        columns: Gives a split's own columns for ascending rows whose images could be read; empty in
            the table for the others.
        format: ``csv``, or ``parquet``, which needs pyarrow.
    """

    subject: Subject
    splits: list[str]
    columns: Callable[[str, np.ndarray], Columns]
    format: Format = "csv"

    def __len__(self) -> int:
        return sum(len(self.subject.split(name)) for name in self.splits)

    def write(self, path: Path) -> Path:
        """Write ``<path>.csv`` or ``<path>.parquet``, which is whole or absent."""
        target = path.with_name(f"{path.name}.{self.format}")
        temporary = target.with_name(f"{target.name}.tmp")
        (_write_csv if self.format == "csv" else _write_parquet)(temporary, self.blocks())
        os.replace(temporary, target)
        return target

    def blocks(self) -> Iterator[Columns]:
        """The columns of ``BLOCK`` images at a time."""
        for name in self.splits:
            split = self.subject.split(name)
            ok = split.ok
            for start in range(0, len(split), BLOCK):
                rows = np.arange(start, min(start + BLOCK, len(split)))
                own = self.columns(name, rows[ok[rows]])
                yield {
                    "path": split.ids[rows],
                    "split": [name] * len(rows),
                    "ok": [bool(x) for x in ok[rows]],
                    **_labels(split, rows),
                    **{key: _spread(values, ok[rows]) for key, values in own.items()},
                }


def check_format(format: str, protocol: str) -> None:
    """Refuse Parquet without pyarrow before any time is spent."""
    if format == "parquet":
        try:
            need("pyarrow.parquet", protocol)
        except RefusedRunError as error:
            raise RefusedRunError(
                f"{protocol}: format: parquet needs pyarrow: pip install pyarrow. Or use format: "
                "csv."
            ) from error


def _labels(split: Any, rows: np.ndarray) -> Columns:
    """The true class by name, or for several labels per image those that hold, joined by ``|``."""
    if split.labels is None:
        return {}
    labels = np.asarray(split.labels[rows])
    if labels.ndim == 1:
        return {"label": [class_name(split.classes, int(i)) if i >= 0 else None for i in labels]}
    held = [np.flatnonzero(row == 1) for row in labels]
    return {"label": ["|".join(class_name(split.classes, int(i)) for i in row) for row in held]}


def class_name(classes: Sequence[str] | None, number: int) -> str:
    """A class's name, or its number where names are not known."""
    return classes[number] if classes is not None and number < len(classes) else str(number)


def _spread(values: Sequence[Any], ok: np.ndarray) -> list[Any]:
    """Put the values of readable rows in their places, ``None`` in the others."""
    given = iter(values)
    return [_plain(next(given)) if fine else None for fine in ok]


def _plain(value: Any) -> Any:
    """A numpy scalar as Python's; a float32 by its shortest text."""
    if isinstance(value, np.floating):
        return float(f"{value:.6g}")
    return value.item() if isinstance(value, np.generic) else value


def _write_csv(path: Path, blocks: Iterable[Columns]) -> None:
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        for number, columns in enumerate(blocks):
            if number == 0:
                writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))


def _write_parquet(path: Path, blocks: Iterable[Columns]) -> None:
    arrow, parquet = need("pyarrow", "this table"), need("pyarrow.parquet", "this table")
    writer = None
    for columns in blocks:
        table = arrow.table({key: list(values) for key, values in columns.items()})
        writer = writer or parquet.ParquetWriter(path, table.schema)
        writer.write_table(table.cast(writer.schema))
    if writer is not None:
        writer.close()
