"""How far a pass over a split has come: a bar on a terminal, a line now and then in a pipe."""

from __future__ import annotations

import logging
import sys
from types import TracebackType
from typing import Any

log = logging.getLogger("sslight")


class RowProgress:
    """Called with (split, rows done, rows in all); silent unless ``show``."""

    def __init__(self, show: bool) -> None:
        self.show = show
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}
        self._said: dict[str, int] = {}

    def __enter__(self) -> RowProgress:
        if self.show and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True))
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, split: str, done: int, total: int) -> None:
        """Note the progress of a split."""
        if not self.show:
            return
        if self._bar is None:
            self._line(split, done, total)
            return
        if split not in self._tasks:
            self._tasks[split] = self._bar.add_task(f"extract {split}", total=total)
        self._bar.update(self._tasks[split], completed=done)

    def _line(self, split: str, done: int, total: int) -> None:
        quarter = 4 * done // max(total, 1)
        if quarter > self._said.get(split, 0):
            self._said[split] = quarter
            log.info("extract %s: %d of %d rows", split, done, total)
