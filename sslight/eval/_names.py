"""From a table of figures to metrics by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def named(
    rows: Sequence[Mapping[str, Any]], *keys: str, always: Sequence[str] = ()
) -> dict[str, float]:
    """Flatten a result's rows into metrics: every float, its row's place in front.

    ``{"layer": "res5", "k": 4, "map": 0.5}`` gives ``res5/k4/map`` for the keys layer and k. A
    ``mean`` is what its row is about: ``{"figure": "map", "mean": 0.5, "low": 0.4}`` gives ``map``
    and ``map/low``.

    Args:
        rows: The figures, one dict per setting.
        keys: What tells rows apart; one that is equal in all rows is left out of the names.
        always: Those of the keys that are named even so.
    """
    keys = tuple(k for k in keys if k in always or len({row.get(k) for row in rows}) > 1)
    metrics: dict[str, float] = {}
    for row in rows:
        at = [f"{k}{row[k]}" if isinstance(row[k], int) else row[k] for k in keys if k in row]
        metrics |= {
            "/".join([*at, n]).removesuffix("/mean"): x
            for n, x in row.items()
            if isinstance(x, float)
        }
    return metrics
