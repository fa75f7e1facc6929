"""One run's part of a report: every kind of fact; for what is missing, how to get it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from sslight.reports.base import Budget, Facts, GapError, RunInputs
from sslight.reports.confusion import classes
from sslight.reports.curves import Series, panels, read_series
from sslight.reports.evidence import gather, last_step, training_seconds, wait_shares
from sslight.reports.facts import run_facts
from sslight.reports.features import (
    draw,
    fingerprints,
    open_store,
    shown_split,
    staleness,
    weights_source,
)
from sslight.reports.neighbours import Search, gallery, search
from sslight.reports.pictures import Sheet, views
from sslight.reports.projection import feature_map
from sslight.reports.scores import best, scores
from sslight.reports.settings import settings
from sslight.reports.verdict import judge


def collect(run: RunInputs, budget: Budget) -> Facts:
    """Everything that the page shows of a run, as plain values, secrets still in."""
    series = read_series(run.folder)
    facts = run_facts(run.folder, run.data)
    seen = gather(series, facts)
    tables = _part(lambda: {"tables": scores(run.folder)})
    return {
        "name": run.folder.resolve().name,
        "folder": str(run.folder),
        "trouble": run.trouble,
        "findings": [asdict(finding) for finding in judge(seen)],
        "figures": _figures(series, facts, best(tables.get("tables", []))),
        "panels": panels(series),
        "facts": facts,
        "settings": _part(lambda: settings(run.folder, run.resolved)),
        "views": _part(lambda: views(run.folder, run.data)),
        "scores": tables,
        **_of_features(run, budget),
    }


def _part(make: Callable[[], Facts]) -> Facts:
    """A part of the page, or why there is none."""
    try:
        return make()
    except GapError as gap:
        return gap.facts


def _of_features(run: RunInputs, budget: Budget) -> Facts:
    """The map, the gallery and the classes, with one sheet of thumbnails for all."""
    try:
        store = open_store(run.folder)
    except GapError as gap:
        return {**dict.fromkeys(("map", "gallery", "classes"), gap.facts), "sheet": None}
    sheet = Sheet(run.data, fingerprints(store)) if run.data is not None else None
    found: list[Search] = []

    def searched() -> Search:
        found.extend([] if found else [search(store)])
        return found[0]

    parts = {
        "map": _part(lambda: _map(store, sheet, budget)),
        "gallery": _part(lambda: gallery(searched(), _pictured(sheet, run), budget)),
        "classes": _part(lambda: classes(searched())),
        "features": {"stale": staleness(run.folder, store), "source": weights_source(store),
                     "layer": store.layers[0], "folder": str(store.root)},
    }  # fmt: skip
    return {**parts, "sheet": sheet.facts() if sheet is not None and sheet.used else None}


def _map(store: Any, sheet: Sheet | None, budget: Budget) -> Facts:
    sample = draw(store, shown_split(store), budget.points)
    made = feature_map(sample)
    if sheet is None:
        return made
    try:
        sheet.check(sample.split)
    except GapError as gap:  # the points are worth showing without their images
        return {**made, "without": gap.reason}
    return {**made, "tiles": [sheet.place(sample.split, row) for row in sample.rows]}


def _pictured(sheet: Sheet | None, run: RunInputs) -> Sheet:
    if sheet is None:
        raise GapError(run.trouble or "The images cannot be opened here.")
    return sheet


def _figures(series: dict[str, Series], facts: Facts, found: list[Facts]) -> list[Facts]:
    """The few numbers that a reader looks for first."""
    step, total = last_step(series), facts.get("total")
    figures = [_figure("steps", f"{step:,}", f"of {total:,}" if total else "")] if step else []
    for metric, label in (("knn/top1", "kNN, while training"), ("probe/val_top1", "linear probe")):
        if metric in series and (value := series[metric].last()) is not None:
            figures.append(_figure(label, f"{100 * value:.1f} %", "top-1, test images"))
    for score in found:
        text = f"{100 * score['low']:.1f} to {100 * score['high']:.1f} %" if score["low"] else ""
        figures.append(_figure(f"eval {score['label']}", score["text"], text))
    if "train/loss" in series and (loss := series["train/loss"].last()) is not None:
        figures.append(_figure("training loss", f"{loss:.4g}", "last logged"))
    return [*figures, *_pace(series)]


def _pace(series: dict[str, Series]) -> list[Facts]:
    figures = []
    speed = series.get("time/images_per_second")
    if speed is not None and len(speed.finite):
        middle = sorted(speed.finite)[len(speed.finite) // 2]
        waits = wait_shares(series)
        note = (
            f"median; {100 * sorted(waits)[len(waits) // 2]:.0f} % waiting" if waits else "median"
        )
        figures.append(_figure("images / s", f"{middle:,.0f}", note))
    if (seconds := training_seconds(series)) is not None:
        figures.append(_figure("training time", _duration(seconds), "validation not counted"))
    size = series.get("model/parameters")
    if size is not None and (count := size.last()) is not None:
        figures.append(_figure("parameters", f"{count / 1e6:.1f} M", "method and backbone"))
    return figures


def _figure(label: str, value: str, note: str) -> Facts:
    return {"label": label, "value": value, "note": note}


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
