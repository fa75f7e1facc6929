"""How a child config, or the command line, changes what it inherits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sslight.config.errors import ConfigError, Problem
from sslight.config.parse import parse_value

COMMAND_LINE = "command line"

#: Nodes that may be written as a bare name.
_SHORTHAND = ("method", "backbone", "train_step")


def merge(
    base: dict[str, Any], child: dict[str, Any], key: str = "", *, fresh: bool = True
) -> dict[str, Any]:
    """Return ``base`` changed by ``child``: mappings are merged, everything else is replaced.

    A child that sets ``name`` (or ``optim.optimizer``) starts its node afresh: what belonged to
    the other class is not inherited. ``fresh=False`` keeps it: overrides belong together.
    """
    if fresh and _renames(child, key):
        base = {}
    merged = dict(base)
    for name, value in child.items():
        full = f"{key}.{name}" if key else name
        merged[name] = _merged(base.get(name), value, full, fresh=fresh)
    return merged


def _renames(child: dict[str, Any], key: str) -> bool:
    return (bool(key) and "name" in child) or (key == "optim" and "optimizer" in child)


def _merged(old: Any, new: Any, key: str, *, fresh: bool) -> Any:
    if not isinstance(new, dict):
        return new
    if isinstance(old, dict):
        return merge(old, new, key, fresh=fresh)
    if isinstance(old, list) and new and all(name.isdigit() for name in new):
        return _into_list(old, new, key, fresh=fresh)
    return merge({}, new, key, fresh=fresh)


def _into_list(old: list[Any], new: dict[str, Any], key: str, *, fresh: bool) -> list[Any]:
    """Change entries of a list by position: ``data.views.0.size=96``."""
    merged = list(old)
    for name, value in new.items():
        if int(name) >= len(old):
            message = f"there is no entry {name}: the list has {len(old)} (0 to {len(old) - 1})."
            raise ConfigError([Problem(f"{key}.{name}", message, COMMAND_LINE)])
        merged[int(name)] = _merged(old[int(name)], value, f"{key}.{name}", fresh=fresh)
    return merged


def expand(tree: dict[str, Any]) -> dict[str, Any]:
    """Write ``backbone: resnet18`` out as ``backbone: {name: resnet18}``."""
    short = {name: {"name": tree[name]} for name in _SHORTHAND if isinstance(tree.get(name), str)}
    return {**tree, **short}


def overrides_tree(overrides: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """Turn ``["optim.lr=0.1", ...]`` into one tree, and return the keys that were set.

    Raises:
        ConfigError: An override is not ``key=value``, or its value is broken YAML.
    """
    tree: dict[str, Any] = {}
    keys: list[str] = []
    problems: list[Problem] = []
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not all(key.split(".")):
            problems.append(_malformed(override))
            continue
        try:
            value = parse_value(text)
        except ValueError as error:
            message = f"got {text!r}, which is not valid YAML: {error}."
            problems.append(Problem(key, message, COMMAND_LINE))
            continue
        tree = merge(tree, expand(_nested(key.split("."), value)), fresh=False)
        keys.append(key)
    if problems:
        raise ConfigError(problems)
    return tree, keys


def _malformed(override: str) -> Problem:
    message = "is not an override. Write key=value, for example optim.lr=0.1"
    return Problem("", f"{override!r} {message}.", COMMAND_LINE)


def _nested(parts: list[str], value: Any) -> dict[str, Any]:
    for part in reversed(parts):
        value = {part: value}
    return dict(value)


def flatten(tree: Any, key: str = "") -> dict[str, Any]:
    """Return the leaves of a tree by full key; an empty mapping or list is a leaf."""
    if isinstance(tree, dict) and tree:
        items = tree.items()
    elif isinstance(tree, list) and tree:
        items = {str(i): entry for i, entry in enumerate(tree)}.items()
    else:
        return {key: tree}
    leaves: dict[str, Any] = {}
    for name, value in items:
        leaves |= flatten(value, f"{key}.{name}" if key else name)
    return leaves
