"""A config as commented YAML of a few lines."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from typing import Any

#: Column where comments begin, and where lines end; a comment without room stands above its line.
_COLUMN, _WIDTH = 52, 110
#: Texts that need no quotes.
_PLAIN = re.compile(r"[A-Za-z0-9_./~][\w./~+-]*( [\w./~+-]+)*")
_NOT_TEXT = re.compile(r"~|null|true|false|yes|no|on|off|y|n|[\d.+_-]+([eE][\d+-]+)?|0[xo]\w+")


def flow(value: Any) -> str:
    """Write a value on one line, as YAML's ``{key: value}`` and ``[a, b]``."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{flow(k)}: {flow(v)}' for k, v in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(flow, value))}]"
    if isinstance(value, str):
        return _text(value)
    return "null" if value is None else json.dumps(value)


def line(indent: int, key: str, value: Any, comment: str = "") -> str:
    """Write ``key: value  # comment``, in several lines where it is long."""
    margin = "  " * indent
    written = f"{margin}{key}: {flow(value)}"
    if len(written) > _WIDTH:
        written = _folded(written.lstrip(), margin)
    if not comment:
        return written
    beside = f"{written:<{_COLUMN - 2}}  # {comment}"
    return beside if len(beside) <= _WIDTH else f"{margin}# {comment}\n{written}"


def _folded(text: str, margin: str) -> str:
    """Break a flow mapping between words; YAML reads a line break there as a space."""
    wrapper = textwrap.TextWrapper(_WIDTH, margin, f"{margin}  ", break_long_words=False)
    wrapper.break_on_hyphens = False
    return wrapper.fill(text)


def _text(text: str) -> str:
    plain = _PLAIN.fullmatch(text) and not _NOT_TEXT.fullmatch(text.lower())
    return text if plain else json.dumps(text, ensure_ascii=False)
