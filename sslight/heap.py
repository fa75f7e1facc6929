"""What the C library does with memory that torch frees on a CPU."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# malloc.h: parameters of mallopt, and what they are set to while memory is kept and afterwards.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_KEEP = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))
_USUAL = ((_MMAP_MAX, 1 << 16), (_MMAP_THRESHOLD, 32 << 20), (_TRIM_THRESHOLD, 64 << 20))

#: Where one of these is set, the user has decided about malloc.
_DECIDED = (
    "GLIBC_TUNABLES",
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
)

_users = 0


@contextmanager
def keep_freed_memory(device: torch.device | str) -> Iterator[None]:
    """Let glibc keep what a CPU's steps free for the next step; it is returned at the end.

    By itself glibc maps each array of 32 MB and more anew and unmaps it when it is freed, so that
    the kernel hands out the same pages again and again, and clears them each time: 7 % of a
    training step of ResNet-18, a third of a ResNet-50's extraction at 224 px. The price is that the
    process stays near its peak, which itself grows by up to two fifths, since blocks of many sizes
    leave gaps.

    Nothing happens on another device, with another C library, or where the environment sets how
    glibc allocates (``GLIBC_TUNABLES``, ``MALLOC_TRIM_THRESHOLD_`` and the like). Calls may nest.
    """
    global _users
    if torch.device(device).type != "cpu" or not _is_ours_to_set():
        yield
        return
    libc = ctypes.CDLL(None)
    _users += 1
    if _users == 1:
        _set(libc, _KEEP)
    try:
        yield
    finally:
        _users -= 1
        if not _users:
            _set(libc, _USUAL)
            libc.malloc_trim(0)


def _is_ours_to_set() -> bool:
    try:
        is_glibc = (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError):  # Windows; macOS, musl
        return False
    return is_glibc and not any(name in os.environ for name in _DECIDED)


def _set(libc: ctypes.CDLL, options: tuple[tuple[int, int], ...]) -> None:
    for parameter, value in options:
        libc.mallopt(parameter, value)
