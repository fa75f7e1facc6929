"""The HTML report of runs: one file that needs no server, no network and no other file.

``write_report`` collects what a run's folder holds (one file here per kind of fact), judges it in
words (:mod:`sslight.reports.verdict`) and writes the page (:mod:`sslight.reports.page`). Nothing
here builds anything from a config; :mod:`sslight.run.report` does where images are wanted.
"""

from __future__ import annotations

from sslight.reports.base import GapError, RunInputs, WrittenReport
from sslight.reports.write import write_report

__all__ = ["GapError", "RunInputs", "WrittenReport", "write_report"]
