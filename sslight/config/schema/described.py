"""What a docstring says about arguments."""

from __future__ import annotations

import inspect
import re
from typing import Any

_ROLE = re.compile(r":\w+:`~?([\w.]+)`")


def described(thing: Any) -> dict[str, str]:
    """Read the ``Args`` or ``Attributes`` of a docstring: the text of each, on one line."""
    found: dict[str, str] = {}
    inside, current = False, ""
    for line in (inspect.getdoc(thing) or "").splitlines():
        if line and not line.startswith(" "):
            inside = line in ("Args:", "Attributes:")
        elif inside and (entry := re.match(r"    (\w+): (.*)", line)):
            current = entry[1]
            found[current] = entry[2]
        elif inside and current:
            found[current] = f"{found[current]} {line.strip()}".strip()
    return found


def plain(text: str) -> str:
    """Return a docstring's text without its markup."""
    return _ROLE.sub(r"`\1`", text).replace("``", "`")
