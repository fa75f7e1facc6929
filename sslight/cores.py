"""How many cores this process may keep busy."""

from __future__ import annotations

import os
from pathlib import Path

#: Where Linux tells a container its share of the processors: cgroup version 2, then version 1.
_QUOTAS = (
    ("/sys/fs/cgroup/cpu.max",),
    ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)


def usable_cores() -> int:
    """Cores that this process may run on, and that a container's quota pays for; 1 at least."""
    return max(1, min(visible_cores(), quota() or visible_cores()))


def visible_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def quota() -> int | None:
    """Whole cores that the container's quota pays for; None where there is none."""
    for files in _QUOTAS:
        try:
            words = " ".join(Path(file).read_text() for file in files).split()
            allowed, period = int(words[0]), int(words[1])
        except (OSError, ValueError, IndexError):  # no such file; "max", no quota
            continue
        if allowed > 0 and period > 0:
            return max(1, allowed // period)
    return None


def respect_quota() -> None:
    """Keep OpenMP, once torch is imported, from more threads than the quota pays for.

    It counts the machine's cores: a container with 4 of 128 would have 128 threads wait for each
    other. A number that is set already stays.
    """
    if usable_cores() < visible_cores():
        os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
