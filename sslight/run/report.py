"""``sslight report``: one HTML file about one run or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sslight import config as configs
from sslight.config import ConfigError
from sslight.errors import RefusedRunError
from sslight.reports import RunInputs, WrittenReport, write_report
from sslight.reports.write import NAME, check_run, write_quietly
from sslight.run import assemble


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
    listed = list(runs) if isinstance(runs, list | tuple) else [runs]
    folders = [_folder(run) for run in listed]
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
        resolved: dict[str, Any] = configs.checked(configs.load(folder), "extract", trust)
    except (ConfigError, RefusedRunError) as error:
        return RunInputs(folder, data, f"The config cannot be used here: {error}")
    if data is not None:
        return RunInputs(folder, data, resolved=resolved)
    try:
        data = assemble.build_data(resolved, trust)
        for split in data.split_names:
            data.source(split)
    except (OSError, ValueError, ImportError) as error:
        return RunInputs(folder, None, f"The images cannot be opened here: {error}", resolved)
    return RunInputs(folder, data, resolved=resolved)


def write_at_end(run_dir: Path, data: Any, config: Mapping[str, Any]) -> Path | None:
    """Write the page of a fit that is done, unless ``callbacks.report`` is null."""
    if (config.get("callbacks") or {}).get("report", {}) is None:
        return None
    return write_quietly(RunInputs(run_dir, data, resolved=config))
