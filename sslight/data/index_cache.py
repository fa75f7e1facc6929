"""Where indexes are kept: built once, found again, safe when several processes build at once.

    <cache>/<kind>-<hash of the key>/current          name of the newest generation
                                    /<content hash>/  the arrays; never changed once it has a name

A generation is never rewritten, so a run whose workers reopen it by name keeps seeing the same
rows although the folder has changed meanwhile and another run has built a newer one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sslight.data.index import Index

_log = logging.getLogger(__name__)
_KEEP_DAYS = 30


def cached(
    kind: str,
    key: Mapping[str, object],
    build: Callable[[], Index],
    fresh: Callable[[Index], bool] = lambda index: True,
) -> Index:
    """Return the cached index for `key`, building it if there is none or it is stale.

    The cache is `$SSLIGHT_CACHE/index`, else `~/.cache/sslight/index`; a temporary folder (and a
    line in the log) where that cannot be written. Processes that come together wait for the one
    that builds.

    Args:
        kind: the first part of the folder's name.
        key: what determines the rows (JSON values): roots, options, sizes and times of files.
        build: makes the index in memory.
        fresh: whether a cached index still holds; for what the key cannot say cheaply.
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()
    name = f"{kind}-{digest[:24]}"
    found = _current(cache_dir() / name)  # also from a cache that this process may only read
    if found is not None and fresh(found):
        return found
    home = _writable(cache_dir()) / name
    home.mkdir(exist_ok=True)
    with _lock(home):
        found = _current(home)
        if found is not None and fresh(found):
            return found
        return _store(home, build())


def cache_dir() -> Path:
    """Return the folder that holds the indexes; it need not exist."""
    base = os.environ.get("SSLIGHT_CACHE") or os.path.join("~", ".cache", "sslight")
    return Path(os.path.expanduser(base)) / "index"


def reopen(folder: Path) -> Index:
    """Map the generation in `folder` again, as a worker does."""
    with contextlib.suppress(OSError):  # marks it as in use; a cache may be read-only
        os.utime(folder)
    return Index.load(folder)


def _current(home: Path) -> Index | None:
    try:
        return reopen(home / (home / "current").read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError) as error:
        _log.warning("the cached index in %s cannot be used (%s); it is built again", home, error)
        return None


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        instead = _temporary()
        _log.warning(
            "the index cache %s cannot be written (%s); using %s. Set SSLIGHT_CACHE to a folder "
            "that can, or the index is built again after a restart.",
            *(folder, error.strerror, instead),
        )
        return instead


def _temporary() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"sslight-{user}" / "index"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if folder.parent.stat().st_uid == user and os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="sslight-index-"))


def _store(home: Path, index: Index) -> Index:
    target = home / index.content_hash()[:24]
    if not (target / "meta.json").exists():
        _write(target, index)
    _replace_text(home / "current", target.name)
    _prune(home, keep=target)
    return Index.load(target)


def _write(target: Path, index: Index) -> None:
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=target.parent))
    try:
        index.save(unfinished)
        unfinished.chmod(0o755)
        os.replace(unfinished, target)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if not (target / "meta.json").exists():  # else another process was first: just as good
            raise OSError(
                f"the index of {len(index)} images cannot be written to {target.parent}: {error}. "
                f"Set SSLIGHT_CACHE to a folder with room for it."
            ) from error


def _replace_text(path: Path, text: str) -> None:
    handle, unfinished = tempfile.mkstemp(prefix=".unfinished-", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(unfinished, 0o644)
    os.replace(unfinished, path)


def _prune(home: Path, keep: Path) -> None:
    """Remove generations and leftovers that nobody opened for a month."""
    oldest = time.time() - _KEEP_DAYS * 86400
    for folder in home.iterdir():
        with contextlib.suppress(OSError):
            if folder.is_dir() and folder != keep and folder.stat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _lock(home: Path) -> Iterator[None]:
    """Let one process build while the others wait; where locks do not exist, all build."""
    with open(home / ".lock", "w") as file:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
