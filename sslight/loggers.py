"""What a run writes beside TensorBoard: metrics.jsonl and log.txt."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from sslight.errors import RefusedRunError
from sslight.utils import write_atomically

#: Loggers whose messages go to log.txt.
_SOURCES = ("sslight", "pytorch_lightning", "lightning.pytorch", "lightning_fabric")


class JsonlLogger(Logger):
    """Write rows of metrics as lines of ``metrics.jsonl``: ``{"step": 20, "train/loss": 5.1}``.

    Rows stand in the order in which they were logged, each handed to the operating system at once,
    so that a killed process leaves all of them. ``step`` counts finished optimizer steps. Numbers
    that are not finite are written as null. Only rank 0 writes.

    Args:
        run_dir: Folder of ``metrics.jsonl``; made when the first row comes.
    """

    def __init__(self, run_dir: str | os.PathLike[str]) -> None:
        super().__init__()
        self.path = Path(run_dir) / "metrics.jsonl"
        self._file: int | None = None

    @property
    def name(self) -> str:
        """Lightning's name of a logger."""
        return "metrics"

    @property
    def version(self) -> str:
        """Lightning's version of a run; there is one per folder."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return str(self.path.parent)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Write nothing: config.yaml holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append one row."""
        row = {"step": step, **{key: _plain(v) for key, v in metrics.items() if key != "step"}}
        if len(row) == 1:
            return
        # One write per row: a kill leaves whole rows, at worst one torn line at the very end.
        os.write(self._opened(), (json.dumps(row) + "\n").encode())

    @rank_zero_only
    def truncate_after(self, step: int) -> None:
        """Cut the rows after this step, and a torn last line; a checkpoint of it is resumed.

        Use -1 where a run starts anew, to cut everything. The file is replaced atomically.

        Raises:
            ValueError: A line other than the last one is not JSON.
        """
        self._close()
        if not self.path.exists():
            return
        content = self.path.read_bytes()
        kept = [line for line in _whole_lines(content) if self._step_of(line) <= step]
        replacement = b"".join(kept)
        if replacement != content:
            write_atomically(self.path, replacement)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the file; a later row opens it again."""
        self._close()

    def _step_of(self, line: bytes) -> float:
        try:
            step = json.loads(line)["step"]
        except (ValueError, KeyError, TypeError) as error:
            raise RefusedRunError(
                f"{self.path}: this line is not a row of metrics: {line[:80]!r}. Was the file "
                "edited? Remove the line, or move the file away."
            ) from error
        return -math.inf if step is None else float(step)

    def _opened(self) -> int:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            whole = sum(map(len, _whole_lines(self.path.read_bytes())))
            os.ftruncate(self._file, whole)
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}


def _whole_lines(content: bytes) -> list[bytes]:
    return [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]


def _plain(value: Any) -> Any:
    """A JSON number; null where the value is not finite."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def write_log_file(run_dir: str | os.PathLike[str]) -> Iterator[Path]:
    """Append what sslight and Lightning say to ``log.txt`` while inside, and show it on stderr.

    sslight's messages from INFO up appear on stderr unless its logger (or the root) has handlers of
    the user's own. Messages with ``extra={"file_only": True}`` go to the file alone. Ranks other
    than 0 write no file and show warnings only. Handlers and levels are put back at the end.
    """
    path = Path(run_dir) / "log.txt"
    ours = logging.getLogger("sslight")
    level, first = ours.level, getattr(rank_zero_only, "rank", 0) in (0, None)
    attached: list[tuple[logging.Logger, logging.Handler]] = []
    if not ours.hasHandlers():
        attached.append((ours, _console(logging.INFO if first else logging.WARNING)))
    if first:
        attached += [(logging.getLogger(name), _file(path)) for name in _SOURCES]
    try:
        ours.setLevel(min(ours.getEffectiveLevel(), logging.INFO))
        for logger, handler in attached:
            logger.addHandler(handler)
        yield path
    finally:
        ours.setLevel(level)
        for logger, handler in attached:
            logger.removeHandler(handler)
            handler.close()


@contextmanager
def log_failures() -> Iterator[None]:
    """Leave the reason of a failure in log.txt, with its traceback; the caller prints it."""
    try:
        yield
    except Exception as error:
        logging.getLogger("sslight").error(
            "Failed: %s", error, exc_info=True, extra={"file_only": True}
        )
        raise


class _File(logging.FileHandler):
    """Makes its folder and file when the first message comes."""

    def _open(self) -> Any:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()


def _file(path: Path) -> logging.Handler:
    handler = _File(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    return handler


class _Console(logging.Handler):
    """Writes to what ``sys.stderr`` is at that moment: a progress bar may stand in for it."""

    def emit(self, record: logging.LogRecord) -> None:
        if not getattr(record, "file_only", False):
            print(self.format(record), file=sys.stderr, flush=True)


def _console(level: int) -> logging.Handler:
    handler = _Console(level)
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler
