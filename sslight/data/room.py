"""How many bytes may still be written to a folder, be it on disk or in memory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path


def free_on_disk(folder: Path) -> int:
    """Return the free bytes of the file system that holds an existing folder."""
    return shutil.disk_usage(folder).free


def free_in_memory(folder: Path, proc: Path = Path("/proc"), cgroups: Path | None = None) -> int:
    """Return the free bytes of a folder in memory, which the machine and the job must have too.

    Args:
        folder: On a memory-backed file system.
        proc: Where the kernel tells about memory and this process.
        cgroups: Where it tells about control groups, which limit containers and SLURM jobs.
    """
    groups = _cgroup_rooms(proc / "self" / "cgroup", cgroups or Path("/sys/fs/cgroup"))
    return min([free_on_disk(folder), *_available(proc / "meminfo"), *groups])


def _available(meminfo: Path) -> Iterator[int]:
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024


def _cgroup_rooms(membership: Path, root: Path) -> Iterator[int]:
    """Yield what is left of each limit that holds for this process: its group's and all above."""
    lines = membership.read_text().splitlines() if membership.is_file() else []
    own = next((line[3:] for line in lines if line.startswith("0::")), "/")
    group = root / own.strip("/")
    for folder in (group, *(parent for parent in group.parents if parent.is_relative_to(root))):
        limit, used = _number(folder / "memory.max"), _number(folder / "memory.current")
        if limit is not None and used is not None:
            yield max(limit - used + _reclaimable(folder / "memory.stat"), 0)


def _number(path: Path) -> int | None:
    """Return the number in a file; None without it, or where it says "max"."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _reclaimable(stat: Path) -> int:
    """Return the bytes of files that the kernel keeps only while nobody wants the memory."""
    try:
        lines = stat.read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))


def in_bytes(count: float) -> str:
    """Say a number of bytes: `1.8 GB`, as disks are sold."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
