"""The figures of one call: a table per protocol, and one with several backbones side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sslight.eval.base import Result
from sslight.utils import write_atomically


class Results(list[Result]):
    """The results of one subject; printed, they are their tables.

    Attributes:
        subject: What the subject is called.
        others: Results of the subjects compared with it, by name.
    """

    def __init__(self, subject: str = "") -> None:
        super().__init__()
        self.subject = subject
        self.others: dict[str, Results] = {}

    @property
    def metrics(self) -> dict[str, float]:
        """Every figure by ``protocol/name``."""
        return {f"{r.protocol}/{name}": value for r in self for name, value in r.metrics.items()}

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % intervals that are known, by ``protocol/name``."""
        return {f"{r.protocol}/{name}": ends for r in self for name, ends in r.intervals.items()}

    @property
    def compared(self) -> dict[str, Results]:
        """All subjects by name, this one first if it was evaluated at all."""
        return {**({self.subject: self} if self else {}), **self.others}

    def save_comparison(self, path: str | Path) -> None:
        """Write the figures and intervals of all subjects to a JSON file, atomically."""
        told = {
            name: {"metrics": results.metrics, "intervals": results.intervals}
            for name, results in self.compared.items()
        }
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(Path(path), json.dumps(told, indent=1).encode())

    def __repr__(self) -> str:
        return f"Results([{', '.join(map(repr, self))}])"

    def __str__(self) -> str:
        if not self.others:
            return "\n".join(str(result) for result in self)
        return in_text(comparison(self.compared))


def comparison(subjects: Mapping[str, Results]) -> Any:
    """A ``rich`` table with a row for each figure and a column for each subject."""
    from rich.table import Table

    title = "95 % intervals in brackets"
    table = Table(title=title, min_width=len(title))
    table.add_column("figure")
    for name in subjects:
        table.add_column(name, justify="right", overflow="fold")
    for figure in dict.fromkeys(name for results in subjects.values() for name in results.metrics):
        table.add_row(figure, *(_cell(results, figure) for results in subjects.values()))
    return table


def in_text(table: Any, width: int = 120) -> str:
    """A ``rich`` table as plain text."""
    from rich.console import Console

    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip()


def _cell(results: Results, figure: str) -> str:
    value = results.metrics.get(figure)
    if value is None:
        return "-"
    low, high = results.intervals.get(figure, (None, None))
    return f"{value:.4f}" + (f" [{low:.3f}, {high:.3f}]" if low is not None else "")
