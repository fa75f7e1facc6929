"""Small helpers without a home of their own."""

from __future__ import annotations

import logging
import os
from pathlib import Path

logger = logging.getLogger("sslight")

_said: set[str] = set()


def say_once(message: str, level: int = logging.WARNING) -> None:
    """Log a message the first time it comes up in this process, on rank 0."""
    if message not in _said and int(os.environ.get("LOCAL_RANK", 0)) == 0:
        _said.add(message)
        logger.log(level, message)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part."""
    temporary = path.with_name(f"{path.name}.tmp")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
