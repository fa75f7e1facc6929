"""Interpolations, ``${data.batch_size}``, resolved by OmegaConf; the only place that uses it."""

from __future__ import annotations

import copy
from typing import Any

from sslight.config.errors import Problem
from sslight.config.merge import flatten


def resolved(tree: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Return a copy with interpolations filled in, and a problem for each that cannot be.

    What cannot be resolved is left as it is.
    """
    keys = [key for key, leaf in flatten(tree).items() if isinstance(leaf, str) and "${" in leaf]
    if not keys:
        return tree, []
    from omegaconf import OmegaConf

    node = OmegaConf.create(dict(tree), flags={"allow_objects": True})
    filled = copy.deepcopy(dict(tree))
    problems = []
    for key in keys:
        parts = _parts(filled, key)
        try:
            _put(filled, parts, _value(node, parts))
        except _errors() as error:
            reason = str(error).splitlines()[0]
            problems.append(Problem(key, f"cannot be filled in: {reason}"))
    return filled, problems


def _errors() -> tuple[type[Exception], ...]:
    from omegaconf.errors import OmegaConfBaseException

    return (OmegaConfBaseException,)


def _parts(tree: Any, key: str) -> list[Any]:
    """Split a full key into the steps that lead to it; a label may itself hold dots."""
    if not key:
        return []
    if isinstance(tree, list):
        head, _, rest = key.partition(".")
        return [int(head), *_parts(tree[int(head)], rest)]
    name = next(name for name in tree if key == name or key.startswith(f"{name}."))
    return [name, *_parts(tree[name], key[len(name) + 1 :])]


def _value(node: Any, parts: list[Any]) -> Any:
    from omegaconf import OmegaConf

    for part in parts:
        node = node[part]
    if OmegaConf.is_config(node):
        return OmegaConf.to_container(node, resolve=True)
    return node


def _put(tree: Any, parts: list[Any], value: Any) -> None:
    for part in parts[:-1]:
        tree = tree[part]
    tree[parts[-1]] = value
