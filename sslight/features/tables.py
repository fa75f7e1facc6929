"""A split as a data frame or a Parquet file; pandas and pyarrow are imported here only."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sslight.features.store import Split

_ROWS = 8192  # per row group: memory stays flat


def _need(package: str, what: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        top = package.split(".")[0]
        raise ImportError(f"{what} needs {top}. Install it with: pip install {top}") from error


def to_pandas(split: Split, layer: str) -> Any:
    """See :meth:`Split.pandas`."""
    pandas = _need("pandas", "Split.pandas()")
    features = np.array(split.array(layer)).reshape(len(split), -1)
    names = [f"f{i}" for i in range(features.shape[1])]
    head = pandas.DataFrame({"id": split.ids[:], **_labels(split, slice(None)), "ok": split.ok})
    return pandas.concat([head, pandas.DataFrame(features, columns=names)], axis=1)


def to_parquet(split: Split, path: Path, layers: list[str]) -> Path:
    """See :meth:`Split.parquet`."""
    arrow = _need("pyarrow", "Split.parquet()")
    parquet = _need("pyarrow.parquet", "Split.parquet()")
    temporary = path.with_name(f"{path.name}.tmp")
    writer = None
    for start in range(0, len(split), _ROWS):
        part = slice(start, min(start + _ROWS, len(split)))
        columns = {"id": split.ids[part], **_labels(split, part), "ok": split.ok[part]}
        columns |= {layer: _lists(arrow, split.array(layer)[part]) for layer in layers}
        table = arrow.table(columns)
        writer = writer or parquet.ParquetWriter(temporary, table.schema)
        writer.write_table(table)
    if writer is None:
        raise ValueError(f"{split.folder} has no rows.")
    writer.close()
    os.replace(temporary, path)
    return path


def _labels(split: Split, part: slice) -> dict[str, Any]:
    if split.labels is None:
        return {}
    labels = np.array(split.labels[part])
    if labels.ndim == 1:
        return {"label": labels}
    return {f"label_{k}": labels[:, k] for k in range(labels.shape[1])}


def _lists(arrow: Any, rows: np.ndarray) -> Any:
    """Rows of any shape as fixed-size lists (the row's shape is in the store's manifest)."""
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1)
    return arrow.FixedSizeListArray.from_arrays(arrow.array(flat.reshape(-1)), flat.shape[1])
