"""Scalars: from YAML text to a value, without the surprises of YAML 1.1.

A plain scalar becomes a number or a boolean only where its text can be had back from the value
(``7``, ``0.3``, ``true``). Everything else (``007``, ``no``, ``12:30:45``, ``1e-6``) stays text
until the annotation of the parameter it is meant for says how to read it.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

MISSING = "???"

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "yes", "on"})
_FALSE = frozenset({"false", "no", "off"})
_INTEGER = re.compile(r"[-+]?\d+(_\d+)*")
_NUMBER = re.compile(r"[-+]?(\d+(_\d+)*\.?\d*|\.\d+)([eE][-+]?\d+)?")
_SPECIAL = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}

Scalar = None | bool | int | float | str


def from_text(text: str) -> Scalar:
    """Read a plain scalar, keeping as text whatever would not survive the way back."""
    if text in _NULL:
        return None
    if text in ("true", "false"):
        return text == "true"
    if _INTEGER.fullmatch(text) and str(int(text)) == text:
        return int(text)
    if _NUMBER.fullmatch(text) and repr(float(text)) == text:
        return float(text)
    return text


def to_text(value: Scalar) -> str:
    """Write a scalar as YAML would: the inverse of :func:`from_text`."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def is_scalar(value: Any) -> bool:
    """Tell whether a value is written as one word of YAML."""
    return value is None or isinstance(value, bool | int | float | str)


def natural(value: Any) -> Any:
    """Read a scalar without annotation: ``1e-6`` is a number, ``no`` and ``007`` are text."""
    if isinstance(value, str):
        if value.lower() in ("true", "false"):
            return value.lower() == "true"
        if re.search(r"[.eE]", value) and is_number(value):
            return float_of(value)
    return value


def is_number(text: str) -> bool:
    """Tell whether a text can be read as a number."""
    return bool(_NUMBER.fullmatch(text)) or text.lower() in _SPECIAL


def bool_of(value: Any) -> bool:
    """Read a boolean: ``true false yes no on off``, in any case.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else ""
    if word not in _TRUE | _FALSE:
        raise ValueError
    return word in _TRUE


def int_of(value: Any) -> int:
    """Read an integer: ``256``, ``1_000``, ``007``, ``1e5``; never a boolean or ``2.0``.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, str) and re.search(r"[eE]", value) and _NUMBER.fullmatch(value):
        number = float(value)
        if number.is_integer():
            return int(number)
    raise ValueError


def float_of(value: Any) -> float:
    """Read a number; integers count, booleans do not.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and is_number(value):
        return _SPECIAL.get(value.lower()) or float(value)
    raise ValueError


def str_of(value: Any) -> str:
    """Read text; numbers and booleans give theirs.

    Raises:
        ValueError: It is null or no scalar.
    """
    if isinstance(value, str | bool | int | float):
        return to_text(value)
    raise ValueError


def path_of(value: Any) -> Path:
    """Read a path; ``~`` is the home folder.

    Raises:
        ValueError: It is no text.
    """
    return value if isinstance(value, Path) else Path(str_of(value)).expanduser()
