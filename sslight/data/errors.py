"""The error every unreadable image ends in."""

from __future__ import annotations


class ImageError(Exception):
    """One image could not be turned into pixels.

    Args:
        id: the image's id: its path in the data set, or a name such as `shapes/train/17`.
        reason: what is wrong with it, in words.
    """

    def __init__(self, id: str, reason: str) -> None:
        super().__init__(id, reason)  # both as args, so that it survives the way out of a worker
        self.id = id
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.id}: {self.reason}"
