"""Weights from the web: cached, locked, checked."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from sslight.utils import sync_folder

_CHECKSUM = re.compile(r"sha256=([0-9a-fA-F]{64})")


def cache_folder() -> Path:
    """``$SSLIGHT_CACHE/weights``, else ``~/.cache/sslight/weights``."""
    root = os.environ.get("SSLIGHT_CACHE") or Path.home() / ".cache" / "sslight"
    return Path(root) / "weights"


def is_url(text: str) -> bool:
    """Whether ``text`` is an http(s) address."""
    return text.startswith(("http://", "https://"))


def fetch(url: str) -> Path:
    """Download ``https://host/file#sha256=<hex>`` once; return the cached file.

    The file is checked before it gets its name, so that the cache never holds a wrong one. Several
    processes may ask at the same time: one downloads, the others wait.

    Raises:
        ValueError: no checksum in the address, or the content has another one.
        ConnectionError: the download failed.
    """
    address, _, fragment = url.partition("#")
    found = _CHECKSUM.fullmatch(fragment)
    if found is None:
        raise ValueError(
            f"init: {url!r} needs its checksum: write {address}#sha256=<64 hex digits> "
            "(`sha256sum FILE` prints it)."
        )
    expected = found[1].lower()
    name = Path(urlsplit(address).path).name or "weights"
    target = cache_folder() / f"{expected[:16]}-{name}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target):
        if not target.exists():
            _download(address, target, expected)
    return target


def _download(address: str, target: Path, expected: str) -> None:
    temporary = target.with_name(f"{target.name}.tmp")
    try:
        # Only http(s) gets here, and the content is checked before use.
        with urllib.request.urlopen(address, timeout=60) as reply, open(temporary, "wb") as file:  # noqa: S310
            shutil.copyfileobj(reply, file, 1 << 20)
            file.flush()
            os.fsync(file.fileno())
    except (urllib.error.URLError, OSError) as error:
        temporary.unlink(missing_ok=True)
        raise ConnectionError(
            f"init: {address} could not be downloaded ({error}). Without a network, fetch it "
            "elsewhere and give its path as `init`."
        ) from error
    actual = _sha256(temporary)
    if actual != expected:
        temporary.unlink()
        raise ValueError(
            f"init: {address} has sha256 {actual}, but {expected} was asked for. The file changed, "
            "was damaged on the way, or the checksum belongs to another file."
        )
    os.replace(temporary, target)
    sync_folder(target.parent)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    with open(target.with_name(f"{target.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)
