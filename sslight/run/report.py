"""``sslight report``: one HTML file about one run or several."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sslight import config as configs
from sslight.config import ConfigError
from sslight.errors import RefusedRunError
from sslight.reports import RunInputs, WrittenReport, write_report
from sslight.reports.write import check_run
from sslight.run import assemble

log = logging.getLogger("sslight")

#: The file in a run's folder.
NAME = "report.html"


def report(
    runs: Any, out: str | Path | None = None, *, data: Any = None, trust: Sequence[str] = ()
) -> WrittenReport:
    """Write a self-contained HTML page about a run, or about several side by side.

    It shows what is there (curves, views, features, evaluations, config) and says what would fill
    the gaps. Images are opened again from the config's ``data``; where they are gone, the page does
    without.

    Args:
        runs: Folder of a run, what ``fit`` returned, or a list of such.
        out: The HTML file; by default ``report.html`` in the run's folder, or for several runs in
            the current one.
        data: A data module in place of the config's ``data``, for runs made from objects.
        trust: Packages whose classes the configs may name.

    Returns:
        Where the page is, its verdicts, and what is missing from it.

    Raises:
        RefusedRunError: A folder holds no run.
    """
    several = list(runs) if isinstance(runs, list | tuple) else [runs]
    folders = [_folder(run) for run in several]
    if not folders:
        raise RefusedRunError("report: give the folder of at least one run.")
    for folder in folders:
        check_run(folder)
    default = folders[0] / NAME if len(folders) == 1 else Path(NAME)
    inputs = [inputs_of(folder, data, trust) for folder in folders]
    return write_report(inputs, Path(out).expanduser() if out else default)


def _folder(run: Any) -> Path:
    """The folder of a path, or of an object that has one (``FitResult``)."""
    found = getattr(run, "run_dir", run)
    if not isinstance(found, str | Path):
        raise RefusedRunError(
            f"report: got {type(run).__name__}; give a run's folder or what sslight.fit returned."
        )
    return Path(found).expanduser()


def inputs_of(folder: Path, data: Any = None, trust: Sequence[str] = ()) -> RunInputs:
    """Open what belongs to a run: its config, and the images if they are still there."""
    try:
        resolved: Mapping[str, Any] | None = configs.checked(configs.load(folder), "extract", trust)
    except (ConfigError, RefusedRunError) as error:
        return RunInputs(
            folder, data, "" if data is not None else f"The config is not usable here: {error}"
        )
    if data is not None:
        return RunInputs(folder, data, resolved=resolved)
    try:
        data = assemble.build_data(resolved, trust)
        for split in data.split_names:
            data.source(split)
    except (OSError, ValueError, ImportError) as error:
        return RunInputs(folder, None, f"The images cannot be opened here: {error}", resolved)
    return RunInputs(folder, data, resolved=resolved)


def write_quietly(inputs: RunInputs) -> Path | None:
    """Write a run's report; a failure is a sentence in the log and never the end of a fit."""
    try:
        return write_report([inputs], inputs.folder / NAME).path
    except Exception as error:
        log.warning(
            "The report could not be written (%s: %s). The run is whole; try `sslight report %s`.",
            type(error).__name__, error, inputs.folder,
        )  # fmt: skip
        log.info("Traceback of the report", exc_info=True, extra={"file_only": True})
        return None
