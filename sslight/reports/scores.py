"""Results of ``sslight eval`` as tables, shares with their 95 % intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sslight.eval._statistics import interval
from sslight.reports.base import Facts, GapError

#: Beginnings of columns that hold accuracies over the evaluated images.
_SHARES = ("top1", "top5", "accuracy")
#: Rows of a table.
_ROWS = 40


def scores(folder: Path) -> list[Facts]:
    """One table for each file in ``eval/``.

    Raises:
        GapError: There is none.
    """
    tables = [_table(path) for path in sorted((folder / "eval").glob("*.json"))]
    if not tables:
        raise GapError("Nothing was evaluated yet.", f"sslight eval --config {folder}")
    return tables


def _table(path: Path) -> Facts:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        rows = result.get("rows") or [
            {"metric": name, "value": value} for name, value in result["metrics"].items()
        ]
    except (ValueError, KeyError, AttributeError) as error:
        raise GapError(f"{path} is not a result of `sslight eval`: {error}") from error
    n = int(result.get("n") or 0)
    named = {"low", "high"} <= set(rows[0]) if rows else False
    columns = [c for c in (rows[0] if rows else {}) if not (named and c in ("low", "high"))]
    return {
        "label": path.stem,
        "protocol": result.get("protocol", path.stem),
        "n": n,
        "seconds": result.get("seconds"),
        "options": _options(result.get("options") or {}),
        "columns": columns,
        "rows": [[_cell(column, row, n) for column in columns] for row in rows[:_ROWS]],
        "left_out": max(len(rows) - _ROWS, 0),
    }


def _cell(column: str, row: dict[str, Any], n: int) -> Facts:
    value = row.get(column)
    if not isinstance(value, float):
        return {"text": "–" if value is None else str(value)}
    if not column.startswith(_SHARES) or not 0 <= value <= 1:
        return {"text": f"{value:.4g}"}
    given = column == "top1" and "low" in row and "high" in row
    low, high = (row["low"], row["high"]) if given else interval(value, n) if n else (None, None)
    return {"text": f"{100 * value:.1f} %", "share": value, "low": low, "high": high}


def _options(options: dict[str, Any]) -> str:
    """The options in a line; long lists are left out."""
    shown = [f"{key} {value}" for key, value in options.items() if len(str(value)) < 60]
    return ", ".join(shown)


def best(tables: list[Facts]) -> list[Facts]:
    """The best top-1 accuracy of each table, to compare runs by."""
    found = []
    for table in tables:
        cells = [
            cell for row in table["rows"]
            for column, cell in zip(table["columns"], row, strict=True)
            if column == "top1" and "share" in cell
        ]  # fmt: skip
        if cells:
            found.append({"label": table["label"], **max(cells, key=lambda cell: cell["share"])})
    return found
