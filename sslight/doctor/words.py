"""Figures in words: durations, memory, counts; and what a finding is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: ``problem``: fit would fail, or its figures would be wrong; ``advice``: something to change;
#: ``note``: worth knowing.
Kind = Literal["problem", "advice", "note"]
_MARKS: dict[str, str] = {"problem": "!", "advice": ">", "note": "-"}
_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


@dataclass(frozen=True)
class Finding:
    """One sentence of the doctor.

    Attributes:
        kind: How much it matters.
        text: What was seen, what to change, and why.
    """

    kind: Kind
    text: str

    def __str__(self) -> str:
        return f"{_MARKS[self.kind]} {self.text}"


def duration(seconds: float) -> str:
    """Write a time with two digits that matter: ``38 ms``, ``2.4 s``, ``3.1 h``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, name in _UNITS:
        if seconds >= 2 * unit:
            return f"{_short(seconds / unit)} {name}"
    return f"{_short(seconds)} s"


def memory(size: float) -> str:
    """Write a number of bytes in MiB or GiB."""
    mib = size / 2**20
    return f"{mib:.0f} MiB" if mib < 2048 else f"{_short(mib / 1024)} GiB"


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """Write a number and its noun: ``1 image``, ``2,000 images``."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def share(part: int, whole: int, noun: str) -> str:
    """Say how many were looked at: ``all 40 images``, ``500 of 10,000 images``."""
    if part >= whole:
        return f"all {counted(whole, noun)}" if whole != 1 else f"the one {noun}"
    return f"{part:,} of {counted(whole, noun)}"


def listed(names: list[str], most: int = 5) -> str:
    """Write the first few of a list."""
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"
