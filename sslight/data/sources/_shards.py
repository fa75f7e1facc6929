"""Reading tar shards: which files a pattern means, what a shard holds, bytes at an offset."""

from __future__ import annotations

import glob
import itertools
import os
import re
import tarfile
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_BLOCK = 512


def expand_braces(pattern: str) -> list[str]:
    """Expand `{000..012}` and `{a,b}`, as the shell does."""
    match = _BRACES.search(pattern)
    if match is None:
        return [pattern]
    inside = _RANGE.fullmatch(match.group(1))
    if inside:
        first, last = inside.groups()
        width = len(first) if first.startswith("0") and len(first) > 1 else 0
        choices = [str(n).zfill(width) for n in range(int(first), int(last) + 1)]
    else:
        choices = match.group(1).split(",")
    before, after = pattern[: match.start()], pattern[match.end() :]
    return list(itertools.chain.from_iterable(expand_braces(before + c + after) for c in choices))


def find_shards(pattern: str) -> list[str]:
    """Return the files of an absolute pattern; a folder means the `.tar` files in it.

    Raises:
        FileNotFoundError: a part of the pattern matches nothing.
    """
    found: list[str] = []
    for path in [pattern] if os.path.exists(pattern) else expand_braces(pattern):
        if os.path.isdir(path):
            path = os.path.join(glob.escape(path), "*.tar")
        matches = [path] if os.path.isfile(path) else sorted(glob.glob(path, recursive=True))
        if not matches:
            raise FileNotFoundError(f"no tar shard matches {path}")
        found += matches
    return found


@dataclass(frozen=True)
class Member:
    """A file in a shard; `link` names the member whose bytes it shares, if it is a link."""

    name: str
    offset: int
    size: int
    link: str | None = None


def members(path: str) -> Iterator[Member]:
    """Yield the files of an uncompressed tar, in their order.

    Raises:
        ValueError: the file is compressed, no tar, damaged or truncated; shard and offset named.
    """
    at = 0
    try:
        with tarfile.open(path, "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # else it keeps all of them
                at = tar.offset
                if member.isreg() or member.islnk() or member.issym():
                    yield Member(member.name, member.offset_data, member.size, _link(member))
    except tarfile.TarError as error:
        raise ValueError(_damaged(path, at, str(error))) from error
    with open(path, "rb") as file:
        file.seek(at)
        block = file.read(_BLOCK)
    # tarfile takes a damaged or cut-off header for the end; the end is a zero block, or nothing.
    if block and (len(block) < _BLOCK or block.strip(b"\0")):
        raise ValueError(_damaged(path, at, "no member begins here"))


def _link(member: tarfile.TarInfo) -> str | None:
    """Return the name of the member whose bytes a link shares."""
    if member.issym():
        return os.path.normpath(os.path.join(os.path.dirname(member.name), member.linkname))
    return member.linkname if member.islnk() else None


def _damaged(path: str, at: int, problem: str) -> str:
    with open(path, "rb") as file:
        start = file.read(6)
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zX", b"\x28\xb5\x2f\xfd")):
        return f"shard {path} is compressed: no image in it can be reached alone; unpack it first"
    size = os.path.getsize(path)
    return f"shard {path} is damaged or truncated at offset {at} of {size} bytes: {problem}"


class ShardReader:
    """Reads bytes at an offset of a file; keeps some files open, in each process its own."""

    def __init__(self, keep: int = 64) -> None:
        self._keep = keep
        self._open: OrderedDict[str, int] = OrderedDict()

    def read(self, path: str, offset: int, size: int) -> bytes:
        """Return `size` bytes at `offset`; OSError if there are fewer."""
        data = os.pread(self._handle(path), size, offset)  # no file position: safe after a fork
        if len(data) != size:
            raise OSError(f"shard {path} is truncated: {len(data)} of {size} bytes at {offset}")
        return data

    def _handle(self, path: str) -> int:
        if path not in self._open:
            self._open[path] = os.open(path, os.O_RDONLY)
            if len(self._open) > self._keep:
                os.close(self._open.popitem(last=False)[1])
        self._open.move_to_end(path)
        return self._open[path]

    def close(self) -> None:
        """Close all files."""
        while self._open:
            os.close(self._open.popitem()[1])

    def __reduce__(self) -> tuple[type[ShardReader], tuple[int]]:
        return ShardReader, (self._keep,)  # handles stay behind

    def __del__(self) -> None:
        self.close()
