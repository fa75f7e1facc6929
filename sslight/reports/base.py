"""What goes into a report and what comes out of writing one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Key of a run in a report -> what the page calls it.
Facts = dict[str, Any]


@dataclass(frozen=True)
class RunInputs:
    """One run to report on.

    Attributes:
        folder: The run's folder.
        data: Its opened data module, for pictures; None where there is none.
        trouble: Why ``data`` is None, in words.
        resolved: The config with everything filled in; None to fill in interpolations only.
    """

    folder: Path
    data: Any = None
    trouble: str = ""
    resolved: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Budget:
    """How much of everything a page shows, so that it stays below 5 MB.

    Attributes:
        points: Images on the map of features.
        queries: Test images with their neighbours.
        neighbours: Neighbours of each.
    """

    points: int = 800
    queries: int = 24
    neighbours: int = 8

    @classmethod
    def of(cls, runs: int) -> Budget:
        """Share the page among runs; one gets no more than half of it."""
        share = max(runs, 2)
        return cls(points=max(1600 // share, 40), queries=max(48 // share, 2))


class GapError(Exception):
    """A part of the report cannot be made.

    Args:
        reason: Why, as a sentence.
        command: What would fill the gap, as typed; empty where nothing would.
    """

    def __init__(self, reason: str, command: str = "") -> None:
        super().__init__(reason)
        self.reason, self.command = reason, command

    @property
    def facts(self) -> Facts:
        """What the page shows in place of the part."""
        return {"gap": self.reason, "command": self.command}


@dataclass(repr=False)
class WrittenReport:
    """A report on disk.

    Attributes:
        path: The HTML file.
        verdicts: Of each run, its headline and sentence.
        gaps: What is missing from the page, in words, of each run.
    """

    path: Path
    verdicts: dict[str, str] = field(default_factory=dict)
    gaps: dict[str, list[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{name}: {text}" for name, text in self.verdicts.items()]
        return "\n".join([*lines, f"Report: {self.path}"])

    def __repr__(self) -> str:
        return f"WrittenReport({str(self.path)!r}, verdicts={self.verdicts})"
