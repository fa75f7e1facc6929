"""Reading plain values: scalars, literals, lists, mappings and unions of anything."""

from __future__ import annotations

import typing
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslight import registry
from sslight.config import hints, scalars

if TYPE_CHECKING:
    from sslight.config.reader import Reader

FAILED: Any = type("Failed", (), {"__repr__": lambda self: "FAILED"})()

_CONVERT: dict[Any, Callable[[Any], Any]] = {
    bool: scalars.bool_of,
    int: scalars.int_of,
    float: scalars.float_of,
    str: scalars.str_of,
    Path: scalars.path_of,
}


def plain(reader: Reader, key: str, value: Any, hint: Any) -> Any:
    """Read a value for an annotation that names no class of sslight."""
    kind = hints.origin(hint)
    if hints.is_literal(hint):
        return _literal(reader, key, value, hint)
    if kind in _CONVERT:
        return _scalar(reader, key, value, kind)
    if kind in hints.SEQUENCES and isinstance(value, list | tuple):
        return _sequence(reader, key, value, hint)
    if kind in hints.MAPPINGS and isinstance(value, dict):
        return _mapping(reader, key, value, hint)
    return wrong(reader, key, value, hint)


def anything(reader: Reader, key: str, value: Any) -> Any:
    """Read a value for which there is no annotation."""
    if isinstance(value, dict):
        return _mapping(reader, key, value, dict[str, Any])
    if isinstance(value, list):
        return _sequence(reader, key, value, list[Any])
    return scalars.natural(value)


def wrong(reader: Reader, key: str, value: Any, hint: Any) -> Any:
    """Note that a value is of the wrong kind."""
    known = [str(word) for word in hints.literals(hint)]
    nearest = registry.suggestion(value, known) if isinstance(value, str) else ""
    return reader.fail(key, f"got {show(value)}; expected {hints.describe(hint)}.{nearest}")


def show(value: Any) -> str:
    """Write a value as a config would, cut short."""
    if value is None or isinstance(value, bool):
        return scalars.to_text(value)
    text = repr(value)
    short = text if len(text) <= 60 else f"{text[:57]}..."
    if isinstance(value, dict):
        return f"the mapping {short}"
    return f"the list {short}" if isinstance(value, list) else short


def is_object(value: Any, hint: Any) -> bool:
    """Tell whether a config made in Python already holds the object (or null) that is wanted."""
    kind = hints.origin(hint)
    if isinstance(value, dict | list | str) or kind in _CONVERT or not isinstance(kind, type):
        return False
    return isinstance(value, kind)


def union(reader: Reader, key: str, value: Any, hint: Any) -> Any:
    """Read a value as the first alternative that takes it, the closest kind first."""
    fitting = [option for option in hints.options(hint) if _fits(value, option)]
    attempts = []
    for option in sorted(fitting, key=lambda option: _distance(value, option)):
        attempt = reader.attempt()
        read = attempt.read(key, value, option)
        if read is not FAILED:
            return read
        attempts.append(attempt)
    by_name = len(fitting) == 1 and hints.family(fitting[0]) is not None
    if attempts and (by_name or isinstance(value, dict | list)):
        return reader.adopt(min(attempts, key=lambda attempt: len(attempt.problems)))
    return wrong(reader, key, value, hint)


def _fits(value: Any, option: Any) -> bool:
    """Tell whether an alternative is written in the shape that came."""
    kind, named = hints.origin(option), hints.family(option) is not None
    if isinstance(value, dict):
        return named or kind in hints.MAPPINGS or hints.is_record(option)
    if isinstance(value, list | tuple):
        return kind in hints.SEQUENCES
    scalar = hints.is_literal(option) or kind in hints.SCALARS
    return scalar or is_object(value, option) or (named and isinstance(value, str))


def _distance(value: Any, option: Any) -> int:
    """Order alternatives: the same type, listed values, numbers, text, then yes and no."""
    kind = hints.origin(option)
    if type(value) is kind and kind is not str:
        return 0
    if hints.is_literal(option):
        return 1
    ranks = {int: 2, float: 3, bool: 6}
    return ranks.get(kind, 4 if kind in hints.SCALARS else 5)


def _scalar(reader: Reader, key: str, value: Any, kind: Any) -> Any:
    try:
        read = _CONVERT[kind](value)
    except ValueError:
        return wrong(reader, key, value, kind)
    return str(read) if kind is Path and not reader.make else read


def _literal(reader: Reader, key: str, value: Any, hint: Any) -> Any:
    for allowed in typing.get_args(hint):
        if value is None or allowed is None:
            matches = value is allowed
        else:
            matches = scalars.is_scalar(value) and scalars.to_text(value) == scalars.to_text(
                allowed
            )
        if matches:
            return allowed
    return wrong(reader, key, value, hint)


def _sequence(reader: Reader, key: str, value: Any, hint: Any) -> Any:
    kind, parts = hints.origin(hint), typing.get_args(hint) or (Any,)
    fixed = kind is tuple and Ellipsis not in parts and typing.get_args(hint) != ()
    if fixed and len(parts) != len(value):
        return wrong(reader, key, value, hint)
    wanted = parts if fixed else parts[:1] * len(value)
    read = [
        reader.read(f"{key}.{i}", entry, part)
        for i, (entry, part) in enumerate(zip(value, wanted, strict=True))
    ]
    if any(entry is FAILED for entry in read):
        return FAILED
    return kind(read) if reader.make and kind in (tuple, set, frozenset) else read


def _mapping(reader: Reader, key: str, value: Any, hint: Any) -> Any:
    names, entries = typing.get_args(hint) or (str, Any)
    read = [
        (reader.read(f"{key}.{name}", name, names), reader.read(f"{key}.{name}", entry, entries))
        for name, entry in value.items()
    ]
    failed = any(name is FAILED or entry is FAILED for name, entry in read)
    return FAILED if failed else dict(read)
