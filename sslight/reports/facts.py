"""What was run, on what, from what: recorded when a fit starts, read when a report is written."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from sslight.reports.base import Facts

#: Written by :mod:`sslight.run.environment`.
ENVIRONMENT = "environment.json"
#: Names of unreadable images that a page lists.
_LISTED = 20
_BAD = re.compile(r"Unreadable image \(on_error: (\w+)\): (.*)$")
_WARNING = re.compile(r"^\S+ \S+ WARNING (.*)$")


def run_facts(folder: Path, data: Any = None) -> Facts:
    """Everything known about how a run was made.

    ``starts`` (when, command, versions, hardware, git of each start), ``total`` steps asked for,
    ``data`` by split, ``bad`` images and ``warnings`` of the log, ``finished`` step or None.
    """
    recorded = _json(folder / ENVIRONMENT)
    known = recorded.get("data") or {}
    return {
        "starts": recorded.get("starts", []),
        "total": recorded.get("total"),
        "data": known or (data_facts(data) if data is not None else {}),
        "finished": _json(folder / "finished.json").get("step"),
        **log_facts(folder / "log.txt"),
    }


def data_facts(data: Any) -> dict[str, Facts]:
    """Counts of every split of a data module: images, classes, labels."""
    return {split: _split_facts(data.source(split)) for split in data.split_names}


def _split_facts(source: Any) -> Facts:
    facts: Facts = {"images": len(source), "source": type(source).__name__}
    if source.classes is not None:
        facts["classes"] = len(source.classes)
    labels = source.labels
    if labels is None:
        return facts
    array = np.asarray(labels)
    if array.ndim == 2:
        return {**facts, "labelled": int((array >= 0).any(1).sum()), "several labels": True}
    counts = np.bincount(array[array >= 0].astype(np.int64))
    counts = counts[counts > 0]
    smallest, largest = (int(counts.min()), int(counts.max())) if len(counts) else (0, 0)
    return {**facts, "labelled": int(counts.sum()), "smallest": smallest, "largest": largest}


def log_facts(path: Path) -> Facts:
    """Unreadable images and warnings that log.txt names, each once, with their number."""
    bad: Counter[str] = Counter()
    warnings: Counter[str] = Counter()
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                found, warned = _BAD.search(line), _WARNING.match(line.rstrip("\n"))
                if found:
                    bad[found[2]] += 1
                elif warned and not warned[1].endswith(tuple(f"on_error: {w}." for w in _WORDS)):
                    warnings[warned[1]] += 1
    return {
        "bad": {"count": len(bad), "named": list(bad)[:_LISTED]},
        "warnings": list(warnings)[:_LISTED],
    }


_WORDS = ("raise", "skip", "replace")


def _json(path: Path) -> dict[str, Any]:
    """The content of a small JSON file; nothing where it is missing or torn."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
