"""``sslight export``: a trained backbone to a file that others read, checked, with its card."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sslight import registry
from sslight.checkpoints.export import Exported, Provenance, write_export
from sslight.checkpoints.export.base import Format
from sslight.config import Config
from sslight.errors import RefusedRunError, refusing
from sslight.run.extract import Weights
from sslight.run.network import Network, Source, open_network


def export(
    source: Source,
    to: str,
    path: str | Path | None = None,
    *,
    weights: Weights | None = None,
    view: Any = None,
    overrides: Iterable[str] = (),
    trust: Sequence[str] = (),
) -> Exported:
    """Write a backbone in another library's format: ``export("runs/x", to="timm")``.

    The folder gets the weights, the evaluation view as ``transform.json`` and ``transform.py``, and
    a model card. Before it is shown, a fresh process loads the files and compares embeddings.

    Args:
        source: A run's folder, a config, a checkpoint, a file of weights, or a backbone.
        to: A format of ``sslight list formats``.
        path: The folder; None for ``export/<format>`` in the run's. An earlier export there is
            replaced.
        weights: Which of a run's weights; None for the config's ``extract.weights``, or ``main``.
        view: Spec of the view that the network is to be fed; None for the one it came with.
        overrides: ``key=value`` strings for a config.
        trust: Packages whose classes the config may name.

    Raises:
        RefusedRunError: The backbone does not fit the format; the message names those it fits.
        RuntimeError: The files, loaded again, give other embeddings.
    """
    formats = {name: _format(name, trust) for name in registry.names("format")}
    if to not in formats:
        formats[to] = _format(to, trust)  # of a trusted package; else the error knows the names
    found = open_network(source, weights=weights, view=view, overrides=overrides, trust=trust)
    folder = Path(path) if path is not None else _default_folder(found, to, weights)
    with refusing(ImportError):
        return write_export(found.loaded.cpu(), to, folder, formats, _provenance(found, trust))


def _format(name: str, trust: Sequence[str]) -> Format:
    made: Format = registry.resolve("format", name, trust)()
    return made


def _default_folder(found: Network, to: str, weights: Weights | None) -> Path:
    if found.run_dir is None:
        raise RefusedRunError("export: give the folder to write to (--out, or path=...).")
    suffix = "" if weights in (None, "main") else f"_{weights}"
    return found.run_dir / "export" / f"{to}{suffix}"


def _provenance(found: Network, trust: Sequence[str]) -> Provenance:
    if found.run_dir is None or found.config is None:
        return Provenance()
    method = str((found.config.get("method") or {}).get("name", ""))
    about = str(registry.resolve("method", method, trust).__doc__ or "") if method else ""
    train = (found.config.get("data") or {}).get("train")
    return Provenance(
        method=method,
        about=" ".join(about.strip().split("\n\n")[0].split()),
        data=Config({"train": train}).text if train else "",
        recipe=found.config.text,
        evals=[json.loads(file.read_text()) for file in sorted(found.run_dir.glob("eval/*.json"))],
    )
