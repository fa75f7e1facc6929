"""Where decoded images are kept: filled by one process under a lock, shared by all, renamed last.

    <folder>/<name>/                 a finished cache; never changed
    <folder>/.unfinished-<name>/     the same while it is filled, and after a kill
    <folder>/.lock-<name>            held by who fills it

In memory each cache has a folder of its own around that, with a file `.users`: every process that
uses the cache holds a shared lock on it, which ends with the process however it ends. Who can lock
it alone knows that nobody is left, and removes the folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import socket
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

from sslight.errors import RefusedRunError

_log = logging.getLogger("sslight")

#: The memory-backed file system of Linux.
MEMORY = Path("/dev/shm")  # noqa: S108


class Shelf:
    """One cache in a folder.

    Args:
        base: The folder, which may hold other caches.
        name: This one's name.
    """

    def __init__(self, base: Path, name: str) -> None:
        self.base, self.name = base, name

    def find(self) -> Path | None:
        """Return the finished cache's folder, if there is one."""
        final = self.base / self.name
        return final if (final / "meta.json").is_file() else None

    @contextlib.contextmanager
    def filling(self) -> Iterator[Path | None]:
        """Give the folder to fill, or None where another process has filled it meanwhile.

        Processes that come together wait for the one that fills. Leaving without an error makes
        the cache final; after an error or a kill what is there stays, for the next to go on with.
        """
        self._make_base()
        with open(self.base / f".lock-{self.name}", "w") as file:
            alone = self._wait_for(file.fileno())
            if self.find() is not None:
                yield None
                return
            # Without locks on this file system everyone fills a folder of its own.
            mine = "" if alone else f"-{socket.gethostname()}-{os.getpid()}"
            unfinished = self.base / f".unfinished-{self.name}{mine}"
            unfinished.mkdir(exist_ok=True)
            yield unfinished
            self._make_final(unfinished)

    def _make_base(self) -> None:
        try:
            self.base.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RefusedRunError(
                f"data.cache: the folder {self.base} cannot be made: {error.strerror}. Give one "
                "that can, or leave data.cache out to decode images as they are needed."
            ) from error

    def _wait_for(self, lock: int) -> bool:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.info("Another process decodes the images into %s; waiting for it.", self.base)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            return False
        return True

    def _make_final(self, unfinished: Path) -> None:
        final = self.base / self.name
        if final.exists():  # without its meta.json: the rest of a removal
            shutil.rmtree(final)
        os.replace(unfinished, final)


class MemoryHome:
    """A folder in memory for one cache, there as long as a process uses it.

    Args:
        name: The cache's name.
    """

    def __init__(self, name: str) -> None:
        if not MEMORY.is_dir():
            raise RefusedRunError(
                f"data.cache: ram needs {MEMORY}, which this system does not have. Give a folder "
                "on a fast disk instead: data.cache=/path/to/folder."
            )
        self.base = MEMORY / f"sslight-{os.getuid()}"
        self.folder = self.base / name
        self._leave: Callable[[], object] | None = None

    def join(self, *, create: bool) -> Path | None:
        """Use the folder until `leave` or the end of the process; None if there is none.

        Args:
            create: Make it if there is none, after removing those that nobody uses any more.
        """
        if self._leave is not None:
            return self.folder
        if not create and not self.folder.is_dir():
            return None
        self._make_base()
        with _one_at_a_time(self.base):
            if create:
                _remove_unused(self.base)
                self.folder.mkdir(exist_ok=True)
            elif not self.folder.is_dir():
                return None
            users = _open_users(self.folder)
            fcntl.flock(users, fcntl.LOCK_SH)
        self._leave = weakref.finalize(self, _leave, self.folder, users, os.getpid())
        return self.folder

    def _make_base(self) -> None:
        self.base.mkdir(mode=0o700, exist_ok=True)
        if self.base.stat().st_uid != os.getuid():
            raise RefusedRunError(
                f"data.cache: {self.base} belongs to another user. Have it removed, or give a "
                "folder instead of ram: data.cache=/path/to/folder."
            )

    def leave(self) -> None:
        """Stop using it; the last one removes it. It happens by itself when the process ends."""
        if self._leave is not None:
            self._leave()
            self._leave = None


def _leave(folder: Path, users: int, owner: int) -> None:
    if os.getpid() != owner:  # a forked worker, which shares the lock with its parent
        return
    with contextlib.suppress(FileNotFoundError), _one_at_a_time(folder.parent):  # removed by hand
        _remove_if_unused(folder, users)
    os.close(users)


def _remove_unused(base: Path) -> None:
    """Remove what processes left behind that were killed."""
    for folder in base.iterdir():
        if folder.is_dir():
            users = _open_users(folder)
            _remove_if_unused(folder, users)
            os.close(users)


def _remove_if_unused(folder: Path, users: int) -> None:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)


def _open_users(folder: Path) -> int:
    return os.open(folder / ".users", os.O_RDWR | os.O_CREAT, 0o600)


@contextlib.contextmanager
def _one_at_a_time(base: Path) -> Iterator[None]:
    with open(base / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
