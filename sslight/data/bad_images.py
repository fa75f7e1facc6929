"""Unreadable images: named when they come up for the first time, counted at the end."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

import torch

from sslight import distributed

logger = logging.getLogger("sslight")


class BadImages:
    """What could not be read by this process.

    Args:
        on_error: What is done about such images, for the messages.

    Attributes:
        counts: How often each came up, by its name and what is wrong with it.
    """

    def __init__(self, on_error: str) -> None:
        self.on_error = on_error
        self.counts: Counter[str] = Counter()

    def note(self, reasons: Sequence[str]) -> None:
        """Count images; name those that are new."""
        for reason in reasons:
            if reason not in self.counts:
                self._name(reason)
            self.counts[reason] += 1

    def say(self) -> None:
        """Log how many there were on all ranks; nothing if there were none. Every rank calls this.

        Rank 0, which writes log.txt, names those that only other ranks have met.
        """
        found = self._of_all_ranks()
        if not found or distributed.rank() != 0:
            return
        for reason in found.keys() - self.counts.keys():
            self._name(reason, file_only=True)  # the other rank has shown it
        logger.warning(
            "%d unreadable images (named above) came up %d times; on_error: %s.",
            len(found),
            found.total(),
            self.on_error,
        )

    def _of_all_ranks(self) -> Counter[str]:
        if not distributed.is_distributed():
            return self.counts
        parts: list[Counter[str]] = [Counter()] * distributed.world_size()
        torch.distributed.all_gather_object(parts, self.counts)
        return sum(parts, Counter())

    def _name(self, reason: str, *, file_only: bool = False) -> None:
        message = "Unreadable image (on_error: %s): %s"
        logger.warning(message, self.on_error, reason, extra={"file_only": file_only})
