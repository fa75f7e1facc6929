"""From runs to a file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from sslight.errors import RefusedRunError
from sslight.reports.base import Budget, Facts, RunInputs, WrittenReport
from sslight.reports.collect import collect
from sslight.reports.page import page
from sslight.reports.secrets import clean
from sslight.utils import write_atomically

log = logging.getLogger("sslight")

#: The file in a run's folder.
NAME = "report.html"

#: Parts that may be missing, as the page calls them.
_PARTS = {"settings": "config", "views": "views", "map": "map of the features",
          "gallery": "neighbours", "classes": "classes", "scores": "evaluation"}  # fmt: skip
#: Any of these makes a folder a run.
_MARKS = ("config.yaml", "metrics.jsonl", "features/manifest.json")


def write_report(runs: Sequence[RunInputs], out: Path) -> WrittenReport:
    """Collect, judge and write one page about all runs.

    Args:
        runs: At least one.
        out: The HTML file; its folder is made.

    Raises:
        RefusedRunError: A folder holds no run.
    """
    for run in runs:
        check_run(run.folder)
    budget = Budget.of(len(runs))
    found = _named([clean(collect(run, budget)) for run in runs])
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, page(found).encode("utf-8", "replace"))
    return WrittenReport(
        out,
        verdicts={run["name"]: _verdict(run) for run in found},
        gaps={run["name"]: _gaps(run) for run in found},
    )


def write_quietly(run: RunInputs) -> Path | None:
    """Write a run's ``report.html``; a failure is a sentence in the log, never the end of a fit."""
    try:
        return write_report([run], run.folder / NAME).path
    except Exception as error:
        log.warning(
            "The report could not be written (%s: %s). The run is not affected; `sslight report "
            "%s` tries again.",
            type(error).__name__,
            error,
            run.folder,
        )
        log.info("The report's traceback:", exc_info=True, extra={"file_only": True})
        return None


def check_run(folder: Path) -> None:
    """Refuse a folder that holds nothing of a run."""
    if not folder.is_dir():
        raise RefusedRunError(f"report: there is no folder {folder}. Give the folder of a run.")
    if not any((folder / mark).is_file() for mark in _MARKS):
        raise RefusedRunError(
            f"report: {folder} is no run: it holds none of {', '.join(_MARKS)}. Give the folder "
            "that `sslight fit` names as its run folder (runs/<config name> by default)."
        )


def _named(runs: list[Facts]) -> list[Facts]:
    """Tell runs of one name apart by their parent folders."""
    names = [run["name"] for run in runs]
    for run in runs:
        if names.count(run["name"]) > 1:
            run["name"] = "/".join(Path(run["folder"]).resolve().parts[-2:])
    return [{**run, "id": f"run{i}"} for i, run in enumerate(runs)]


def _verdict(run: Facts) -> str:
    words = ", ".join(finding["word"] for finding in run["findings"])
    return f"{words}. {run['findings'][0]['sentence']}"


def _gaps(run: Facts) -> list[str]:
    return [
        f"{name}: {run[part]['gap']} {run[part]['command']}".strip()
        for part, name in _PARTS.items()
        if "gap" in run[part]
    ]
