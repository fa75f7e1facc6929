"""Annotations: what kind of value they want, and how to say that in words."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union

#: Classes of sslight that a config writes as ``{name: ..., ...}``, and the family of the name.
_FAMILY = {
    "Backbone": "backbone",
    "SSLModule": "method",
    "Schedule": "schedule",
    "Source": "source",
    "ViewMaker": "views",
}
_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "text",
    Path: "a path",
    type(None): "null",
    list: "a list",
    tuple: "a list",
    set: "a list",
    frozenset: "a list",
    Sequence: "a list",
    Iterable: "a list",
    dict: "a mapping",
    Mapping: "a mapping",
}
_PLURAL = {int: "integers", float: "numbers", str: "texts", Path: "paths", bool: "booleans"}

SCALARS = (bool, int, float, str, Path)
SEQUENCES = (list, tuple, set, frozenset, Sequence, Iterable)
MAPPINGS = (dict, Mapping)


def options(hint: Any) -> list[Any]:
    """Return the alternatives of an annotation, unions inside unions flattened."""
    if origin(hint) in (Union, types.UnionType):
        return [option for part in typing.get_args(hint) for option in options(part)]
    return [type(None) if hint is None else hint]


def origin(hint: Any) -> Any:
    """Return ``list`` for ``list[int]``; the annotation itself where it has no arguments."""
    return typing.get_origin(hint) or hint


def is_literal(hint: Any) -> bool:
    """Tell whether an annotation lists its values."""
    return origin(hint) is Literal


def is_record(hint: Any) -> bool:
    """Tell whether a config writes this class as a mapping of its fields."""
    return isinstance(hint, type) and dataclasses.is_dataclass(hint) and family(hint) is None


def family(hint: Any) -> str | None:
    """Return the family whose members a parameter of this annotation takes."""
    if not isinstance(hint, type):
        return None
    for base in hint.__mro__:
        if base.__name__ in _FAMILY and base.__module__.startswith("sslight."):
            return _FAMILY[base.__name__]
    return None


def literals(hint: Any) -> list[Any]:
    """Return the values that the annotation lists, over all its alternatives."""
    found = [value for option in options(hint) if is_literal(option) for value in _values(option)]
    return list(dict.fromkeys(found))


def _values(option: Any) -> tuple[Any, ...]:
    return typing.get_args(option)


def describe(hint: Any) -> str:
    """Say in words what an annotation wants: ``an integer, 'auto' or null``."""
    words: list[str] = []
    for option in options(hint):
        words += (
            [repr(value) for value in _values(option)] if is_literal(option) else [_one(option)]
        )
    known = [word for word in dict.fromkeys(words) if word]
    if "null" in known:
        known = [word for word in known if word != "null"] + ["null"]
    if not known:
        return "an object that only Python can give"
    return known[0] if len(known) == 1 else f"{', '.join(known[:-1])} or {known[-1]}"


def _one(option: Any) -> str:
    arguments = [part for part in typing.get_args(option) if part is not Ellipsis]
    if origin(option) in SEQUENCES and arguments:
        return _sequence(option, arguments)
    if origin(option) in MAPPINGS and len(arguments) == 2 and arguments[1] is not Any:
        return f"a mapping to {describe(arguments[1])}"
    if option is Any:
        return "any value"
    if member := family(option):
        kind = "views" if member == "views" else f"a {member.replace('_', ' ')}"
        return f"{kind} {{name: ..., ...}}"
    if is_record(option):
        names = [field.name for field in dataclasses.fields(option) if field.init]
        return f"a mapping with {', '.join(names)}"
    return _WORDS.get(origin(option), "")


def _sequence(option: Any, arguments: list[Any]) -> str:
    fixed = origin(option) is tuple and Ellipsis not in typing.get_args(option)
    if len(set(arguments)) == 1:
        items = _PLURAL.get(arguments[0], f"items, each {describe(arguments[0])}")
        return f"a list of {len(arguments)} {items}" if fixed else f"a list of {items}"
    return f"a list of {len(arguments)}: {', '.join(describe(part) for part in arguments)}"
