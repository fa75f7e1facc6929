"""A split in the formats of others: data frame, Parquet, CSV, npz.

pandas and pyarrow are imported here only, where they are used. Files are written a block of rows at
a time and get their name when they are whole.
"""

from __future__ import annotations

import csv
import importlib
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sslight.features.store import Split

_ROWS = 8192  # per block, and row group of Parquet: memory stays flat


def _need(package: str, what: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        top = package.split(".")[0]
        raise ImportError(
            f'{what} needs {top}. Install it with: pip install "sslight[tables]"'
        ) from error


def to_pandas(split: Split, layer: str) -> Any:
    """See :meth:`Split.pandas`."""
    pandas = _need("pandas", "Split.pandas()")
    features = np.array(split.array(layer)).reshape(len(split), -1)
    names = _columns("f", features.shape[1])
    head = pandas.DataFrame(_head(split, slice(None)))
    return pandas.concat([head, pandas.DataFrame(features, columns=names)], axis=1)


def to_parquet(split: Split, path: Path, layers: list[str]) -> Path:
    """See :meth:`Split.parquet`."""
    arrow = _need("pyarrow", "Split.parquet()")
    parquet = _need("pyarrow.parquet", "Split.parquet()")
    with _whole(path) as temporary:
        writer = None
        for part in _blocks(split):
            columns = _head(split, part)
            columns |= {layer: _lists(arrow, split.array(layer)[part]) for layer in layers}
            table = arrow.table(columns)
            writer = writer or parquet.ParquetWriter(temporary, table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()
    return path


def to_csv(split: Split, path: Path, layers: list[str]) -> Path:
    """See :meth:`Split.csv`."""
    with _whole(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for part in _blocks(split):
            head = _head(split, part)
            arrays = {layer: _flat(split.array(layer)[part]) for layer in layers}
            if part.start == 0:
                names = [_columns(f"{layer}.", array.shape[1]) for layer, array in arrays.items()]
                writer.writerow([*head, *(name for group in names for name in group)])
            numbers = np.concatenate(list(arrays.values()), axis=1)
            columns = [_plain(column) for column in head.values()]
            writer.writerows(
                [*row, *numbers[i].tolist()] for i, row in enumerate(zip(*columns, strict=True))
            )
    return path


def to_npz(split: Split, path: Path, layers: list[str]) -> Path:
    """See :meth:`Split.npz`."""
    width = max((len(name) for part in _blocks(split) for name in split.ids[part]), default=1)
    kinds: dict[str, tuple[Callable[[slice], np.ndarray], np.dtype[Any], tuple[int, ...]]] = {}
    for layer in layers:
        array = split.array(layer)
        kinds[layer] = (array.__getitem__, array.dtype, array.shape)
    if split.labels is not None:
        kinds["labels"] = (split.labels.__getitem__, split.labels.dtype, split.labels.shape)
    names = np.dtype(f"<U{max(width, 1)}")
    kinds["ids"] = (lambda part: np.array(split.ids[part], names), names, (len(split),))
    ok = split.ok
    kinds["ok"] = (ok.__getitem__, ok.dtype, ok.shape)
    with _whole(path) as temporary, zipfile.ZipFile(temporary, "w", allowZip64=True) as archive:
        for name, (rows, dtype, shape) in kinds.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_2_0(file, header)
                for part in _blocks(split):
                    file.write(np.ascontiguousarray(rows(part), dtype).tobytes())
    return path


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A name to write to; the file gets its own when all is written."""
    temporary = path.with_name(f"{path.name}.tmp")
    yield temporary
    os.replace(temporary, path)


def _blocks(split: Split) -> Iterator[slice]:
    for start in range(0, len(split), _ROWS):
        yield slice(start, min(start + _ROWS, len(split)))


def _head(split: Split, part: slice) -> dict[str, Any]:
    """The columns before the features: name, label (and its class in words), readable or not."""
    return {"id": split.ids[part], **_labels(split, part), "ok": split.ok[part]}


def _labels(split: Split, part: slice) -> dict[str, Any]:
    if split.labels is None:
        return {}
    labels = np.array(split.labels[part])
    if labels.ndim > 1:
        return {f"label_{k}": labels[:, k] for k in range(labels.shape[1])}
    if split.classes is None:
        return {"label": labels}
    names = np.array([*split.classes, ""], dtype=object)
    known = (labels >= 0) & (labels < len(split.classes))
    return {"label": labels, "class": names[np.where(known, labels, len(split.classes))].tolist()}


def _plain(column: Any) -> list[Any]:
    return column.tolist() if isinstance(column, np.ndarray) else list(column)


def _columns(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{i}" for i in range(count)]


def _flat(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows).reshape(len(rows), -1)


def _lists(arrow: Any, rows: np.ndarray) -> Any:
    """Rows of any shape as fixed-size lists (the row's shape is in the store's manifest)."""
    flat = _flat(rows)
    return arrow.FixedSizeListArray.from_arrays(arrow.array(flat.reshape(-1)), flat.shape[1])
