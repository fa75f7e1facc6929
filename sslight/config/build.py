"""Building objects from the nodes of a config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sslight.config import calls, trainer
from sslight.config.reader import Reader


def build(
    family: str,
    node: str | Mapping[str, Any],
    trust: Iterable[str] = (),
    *,
    key: str | None = None,
    **injected: Any,
) -> Any:
    """Build a member of a family from ``{name: ..., key: value, ...}``, or from its name.

    Args:
        family: One of ``registry.FAMILIES``.
        node: The node.
        trust: Packages that ``package.module:Class`` may point into.
        key: Full key for errors; the family by default.
        **injected: Arguments that sslight gives: a method's ``backbone`` and ``optim``.

    Returns:
        The object. Where a required injected argument is not given (a train step's ``method``), a
        partial that waits for it.

    Raises:
        ConfigError: The node has problems, or the constructor refused its arguments.
    """
    reader = Reader(trust, make=True)
    value = node if isinstance(node, str) else dict(node)
    built = calls.member(reader, key or family, value, family, injected=injected)
    reader.stop_if_failed()
    return built


def make(
    thing: Any,
    node: Mapping[str, Any] | None = None,
    trust: Iterable[str] = (),
    *,
    key: str = "",
    **injected: Any,
) -> Any:
    """Call a class or function with a node's keys, converted as its signature wants them.

    Raises:
        ConfigError: The node has problems, or the constructor refused its arguments.
    """
    reader = Reader(trust, make=True)
    built = calls.call(reader, key, thing, dict(node or {}), label=key, injected=injected)
    reader.stop_if_failed()
    return built


def build_members(
    family: str,
    nodes: Mapping[str, Any] | None,
    trust: Iterable[str] = (),
    *,
    key: str | None = None,
) -> dict[str, Any]:
    """Build a mapping's callbacks or protocols by label; null switches one off.

    Raises:
        ConfigError: Nodes have problems, or constructors refused their arguments.
    """
    reader = Reader(trust, make=True)
    built = {
        label: calls.member(reader, f"{key or family}.{label}", node, family, default=label)
        for label, node in (nodes or {}).items()
        if node is not None
    }
    reader.stop_if_failed()
    return built


def trainer_arguments(
    node: Mapping[str, Any] | None, trust: Iterable[str] = (), folder: str | Path = ""
) -> dict[str, Any]:
    """Return keyword arguments for Lightning's Trainer; strategy, loggers, profiler are objects.

    ``sync_batchnorm`` may be a number of ranks, which Lightning does not understand. Loggers write
    into ``folder`` unless the node says where.

    Raises:
        ConfigError: The node has problems.
    """
    reader = Reader(trust, make=True)
    told = dict(node or {})
    if "logger" in told:
        told["logger"] = trainer.in_folder(told["logger"], Path(folder))
    found: dict[str, Any] = trainer.read(reader, "trainer", told)
    reader.stop_if_failed()
    return found
