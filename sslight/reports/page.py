"""Facts to HTML: one file with its style, script, data and images inside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sslight.reports.base import Facts
from sslight.reports.settings import differences

_TEMPLATES = Path(__file__).parent / "templates"


def page(runs: Sequence[Facts]) -> str:
    """Render the page of one run, or of several side by side.

    Everything from a run (class names, paths, configs) is escaped: the template escapes by default,
    and data for the script is JSON in which ``<``, ``>``, ``&`` and ``'`` are written as escapes.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["when"] = when
    several = len(runs) > 1
    configs = [run["settings"].get("flat", {}) for run in runs]
    return environment.get_template("page.html.jinja").render(
        runs=runs,
        several=several,
        title=" · ".join(run["name"] for run in runs),
        comparison=comparison(runs) if several else [],
        differences=differences(configs) if several else [],
        data=[_for_script(run) for run in runs],
        charts=charts(runs),
        style=(_TEMPLATES / "report.css").read_text(encoding="utf-8"),
        script=(_TEMPLATES / "report.js").read_text(encoding="utf-8"),
        written=datetime.now().astimezone().strftime("%d %B %Y, %H:%M"),
    )


def charts(runs: Sequence[Facts]) -> list[Facts]:
    """Panels over all runs: the curves of each in the panel of the same title."""
    found: dict[str, Facts] = {}
    for number, run in enumerate(runs):
        for panel in run["panels"]:
            chart = found.setdefault(panel["title"], {**panel, "curves": []})
            chart["curves"] += [{**curve, "run": number} for curve in panel["curves"]]
    return list(found.values())


def comparison(runs: Sequence[Facts]) -> list[Facts]:
    """A row for each figure that any run has, a cell for each run."""
    rows: dict[str, list[Facts]] = {}
    for number, run in enumerate(runs):
        for figure in run["figures"]:
            blank = {"value": "–", "note": ""}
            cells = rows.setdefault(figure["label"], [blank] * len(runs))
            cells[number] = figure
    return [{"label": label, "cells": cells} for label, cells in rows.items()]


def _for_script(run: Facts) -> dict[str, Any]:
    """What the script draws: the map, and where thumbnails are."""
    sheet = run.get("sheet")
    measures = {k: sheet[k] for k in ("side", "columns")} if sheet else None
    feature_map = run["map"] if "gap" not in run["map"] else None
    return {"id": run["id"], "name": run["name"], "map": feature_map, "sheet": measures}


def percent(share: float, digits: int = 1) -> str:
    """A share in words: 0.5 as ``50.0 %``."""
    return f"{100 * share:.{digits}f} %"


def when(text: str) -> str:
    """An ISO time for people."""
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%d %B %Y, %H:%M")
    except ValueError:
        return text
