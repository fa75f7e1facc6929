"""Small rules about paths that the sources share."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

EXTENSIONS = (
    *("jpg", "jpeg", "jpe", "jfif", "png", "bmp", "webp", "tif", "tiff", "gif"),
    *("ppm", "pgm", "pbm", "pnm", "jp2", "avif"),
)
"""Names of image files, lower case, without the dot."""


def expand(path: str | Path) -> str:
    """Return an absolute path with `~` and `$VARIABLES` replaced."""
    return os.path.abspath(os.path.expanduser(os.path.expandvars(os.fspath(path))))


def file_stamp(path: str | bytes) -> str:
    """Return a file's size and modification time, "missing" without it."""
    try:
        status = os.stat(path)
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def as_list(value: str | Path | Sequence[str | Path]) -> list[str | Path]:
    """Return a list of one or several paths."""
    return [value] if isinstance(value, str | Path) else list(value)


def suffixes(extensions: Sequence[str] | None) -> tuple[bytes, ...]:
    """Return `.jpg`, ... as lower-case bytes, from names with or without the dot."""
    given = EXTENSIONS if extensions is None else extensions
    if isinstance(given, str) or not given:
        raise ValueError(f"extensions={given!r}: write a list, such as extensions: [jpg, png]")
    return tuple(b"." + os.fsencode(e.lower().lstrip(".")) for e in given)


def distinct_names(paths: Iterable[str]) -> list[str]:
    """Return each path's last part, with -2, -3, ... appended where it came before."""
    names: list[str] = []
    for path in paths:
        name = first = os.path.basename(path.rstrip("/")) or "root"
        count = 1
        while name in names:
            count += 1
            name = f"{first}-{count}"
        names.append(name)
    return names


def missing(path: str) -> str:
    """Say that a path does not exist, and what the nearest folder above it holds."""
    above = os.path.dirname(path)
    while not os.path.isdir(above):
        above = os.path.dirname(above)
    try:
        held = sorted(name for name in os.listdir(above) if not name.startswith("."))
    except OSError:
        held = []
    listed = ", ".join(held[:8]) + (", ..." if len(held) > 8 else "") or "nothing"
    return f"{path} does not exist (the nearest folder above it, {above}, holds: {listed})"
