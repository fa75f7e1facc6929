"""A run's config as it was written and as it was resolved, and how the configs of runs differ."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sslight.config.errors import ConfigError
from sslight.config.interpolate import resolved as filled_in
from sslight.config.merge import flatten
from sslight.config.parse import parse
from sslight.reports.base import Facts, GapError
from sslight.reports.secrets import HIDDEN, clean, is_secret

_FROM_ENVIRONMENT = re.compile(r"\$\{oc\.env:\s*(\w+)")
#: Keys that differ between any two runs and say nothing.
_IDLE = ("run_dir", "resume")


def written_config(folder: Path) -> dict[str, Any]:
    """Return the tree of a run's ``config.yaml``, with secrets.

    Raises:
        GapError: There is none, or it cannot be read.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise GapError("This run has no config.yaml: it was not started by `sslight fit`.")
    try:
        return parse(path.read_text(encoding="utf-8"), path.name).tree
    except (ConfigError, UnicodeDecodeError) as error:
        raise GapError(f"config.yaml cannot be read: {error}") from error


def settings(folder: Path, resolved: Mapping[str, Any] | None = None) -> Facts:
    """The config as YAML texts ``written`` and ``resolved``, and as ``flat`` keys; no secrets."""
    tree = written_config(folder)
    full = dict(resolved) if resolved is not None else filled_in(tree)[0]
    shown = _without_environment(_plain(full), tree)
    texts = {"written": _yaml(clean(tree)), "resolved": _yaml(clean(shown))}
    flat = {key: _word(value) for key, value in flatten(clean(shown)).items()}
    return {**texts, "same": texts["written"] == texts["resolved"], "flat": flat}


def differences(configs: Sequence[Mapping[str, str]]) -> list[tuple[str, list[str]]]:
    """Keys whose values are not the same in all flat configs, with each one's value."""
    keys = sorted({key for config in configs for key in config})
    rows = [(key, [config.get(key, "–") for config in configs]) for key in keys]
    return [(key, values) for key, values in rows if key not in _IDLE and len(set(values)) > 1]


def _without_environment(full: Any, tree: Mapping[str, Any]) -> Any:
    """Hide values that came from a secret's environment variable, whatever their key."""
    sources = {
        key: _FROM_ENVIRONMENT.findall(leaf)
        for key, leaf in flatten(dict(tree)).items()
        if isinstance(leaf, str)
    }
    secret = {key for key, names in sources.items() if any(map(is_secret, names))}
    return _hide(full, secret, "")


def _hide(value: Any, secret: set[str], key: str) -> Any:
    if key in secret:
        return HIDDEN
    if isinstance(value, dict):
        return {k: _hide(v, secret, f"{key}.{k}" if key else str(k)) for k, v in value.items()}
    if isinstance(value, list):
        return [_hide(v, secret, f"{key}.{i}") for i, v in enumerate(value)]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _yaml(tree: Any) -> str:
    return str(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=88))


def _word(value: Any) -> str:
    return "null" if value is None else str(value)
