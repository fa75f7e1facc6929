"""Schedules made of schedules: one after the other, and after a warmup."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

from sslight.schedules.base import Schedule, as_schedule, as_tuples, check_choice
from sslight.schedules.clock import Clock


@dataclass(frozen=True)
class Sequence(Schedule):
    """Schedules one after the other.

    Attributes:
        parts: The schedules.
        lengths: Their lengths as fractions of training; they sum to 1 (within 0.001).
        progress: ``"rescaled"``: a part sees its own stretch as a whole training that starts at its
            first step. ``"fixed"``: it sees the clock of the whole training, as if it had run from
            the start (a jump where it begins is then normal). One word for all, or one per part.
    """

    parts: tuple[Schedule, ...]
    lengths: tuple[float, ...]
    progress: str | tuple[str, ...] = "rescaled"
    _scales = ("parts",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.progress, str):
            object.__setattr__(self, "progress", [self.progress] * len(self.parts))
        as_tuples(self, "parts", "lengths", "progress")
        counts = (len(self.parts), len(self.lengths), len(self.progress))
        if len(set(counts)) != 1 or not self.parts:
            raise ValueError(
                "Sequence: parts, lengths and progress must be equally many and at least one, "
                f"got {counts[0]}, {counts[1]} and {counts[2]}."
            )
        for choice in self.progress:
            check_choice(self, "progress", choice, "rescaled", "fixed")
        if min(self.lengths) <= 0 or abs(sum(self.lengths) - 1.0) > 1e-3:
            raise ValueError(
                "Sequence: lengths are fractions of training above 0 that sum to 1, got "
                f"{self.lengths} with sum {sum(self.lengths):g}."
            )

    def _value(self, clock: Clock) -> float:
        bounds = [0, *(round(end * clock.total) for end in accumulate(self.lengths))]
        bounds[-1] = clock.total
        index = min(bisect_right(bounds, clock.step), len(self.parts)) - 1
        if self.progress[index] == "fixed":
            return self.parts[index](clock)
        begin, end = bounds[index], bounds[index + 1]
        return self.parts[index](Clock(clock.step - begin, max(end - begin, 1), clock.per_epoch))


@dataclass(frozen=True)
class Warmup(Schedule):
    """A straight line from ``start`` to the schedule's first value, then the schedule.

    The schedule sees the rest of the training as its whole: it begins at its own start when the
    warmup ends and spans what is left. Step 0 uses ``start`` itself.

    Attributes:
        schedule: What follows.
        epochs: Length of the warmup; a warmup longer than the training is an error at use.
        start: Value at step 0.
    """

    schedule: Schedule
    epochs: float
    start: float = 0.0
    _scales = ("schedule", "start")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.epochs >= 0:
            raise ValueError(f"Warmup: epochs must not be negative, got {self.epochs}.")

    def _value(self, clock: Clock) -> float:
        steps = round(self.epochs * clock.per_epoch)
        if steps > clock.total:
            raise ValueError(
                f"Warmup of {self.epochs:g} epochs ({steps} steps) is longer than the training of "
                f"{clock.total_epochs:g} epochs ({clock.total} steps). Shorten the warmup "
                "(warmup_epochs) or train longer (trainer.max_epochs)."
            )
        rest = Clock(max(clock.step - steps, 0), max(clock.total - steps, 1), clock.per_epoch)
        value = self.schedule(rest)
        if clock.step >= steps:
            return value
        return self.start + (value - self.start) * clock.step / steps


def warmup(schedule: float | Schedule, epochs: float, start: float = 0.0) -> Schedule:
    """``schedule`` after a linear warmup of ``epochs`` epochs; itself where ``epochs`` is 0."""
    followed = as_schedule(schedule)
    return Warmup(followed, epochs, start) if epochs else followed
