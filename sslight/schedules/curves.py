"""Single curves: from start to end, in steps, in waves."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from sslight.schedules.base import Schedule, as_tuples, check_choice
from sslight.schedules.clock import Clock


@dataclass(frozen=True)
class _FromTo(Schedule):
    """Shared by the curves that lead from ``start`` to ``end`` over the whole training."""

    start: float
    end: float = 0.0
    _scales = ("start", "end")

    def _value(self, clock: Clock) -> float:
        left = self._remaining(clock.progress)
        return self.start * left + self.end * (1.0 - left)  # exact at both ends

    def _remaining(self, progress: float) -> float:
        """How much of the way is left: 1 at progress 0, 0 at progress 1."""
        return 1.0 - progress


@dataclass(frozen=True)
class Linear(_FromTo):
    """``start + (end - start) * progress``."""


@dataclass(frozen=True)
class Cosine(_FromTo):
    """Half a cosine wave: ``end + (start - end) * (1 + cos(pi * progress)) / 2``."""

    def _remaining(self, progress: float) -> float:
        return 0.5 * (1.0 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Polynomial(_FromTo):
    """``end + (start - end) * (1 - progress) ** power``."""

    power: float = 1.0
    _positive = ("power",)

    def _remaining(self, progress: float) -> float:
        return float((1.0 - progress) ** self.power)


@dataclass(frozen=True)
class Step(Schedule):
    """``start * gamma ** n`` with n the number of whole spans of ``every`` epochs done."""

    start: float
    every: float
    gamma: float = 0.1
    _positive = ("every",)

    def _value(self, clock: Clock) -> float:
        # A hair of tolerance: three times 0.1 epochs are 0.3 epochs, whatever floats say.
        return float(self.start * self.gamma ** math.floor(clock.epochs / self.every + 1e-9))


@dataclass(frozen=True)
class MultiStep(Schedule):
    """``values[i]`` from epoch ``milestones[i - 1]`` on: one more value than milestones.

    A milestone after the end of training is never reached.
    """

    values: tuple[float, ...]
    milestones: tuple[float, ...]
    _scales = ("values",)

    def __post_init__(self) -> None:
        super().__post_init__()
        as_tuples(self, "values", "milestones")
        if len(self.values) != len(self.milestones) + 1:
            raise ValueError(
                f"MultiStep: {len(self.values)} values for {len(self.milestones)} milestones; "
                "give one value more than milestones (the first one holds before them all)."
            )
        if any(a >= b for a, b in pairwise((0.0, *self.milestones))):
            raise ValueError(
                f"MultiStep: milestones (epochs) must rise from above 0, got {self.milestones}."
            )

    def _value(self, clock: Clock) -> float:
        return self.values[bisect_right(self.milestones, clock.epochs + 1e-9)]


@dataclass(frozen=True)
class InverseSqrt(Schedule):
    """``start / sqrt(max(1, epochs done / timescale))``: flat for ``timescale`` epochs, then falls.

    Inside ``Warmup`` epochs count from the end of the warmup.
    """

    start: float
    timescale: float = 1.0
    _positive = ("timescale",)

    def _value(self, clock: Clock) -> float:
        return self.start / math.sqrt(max(1.0, clock.epochs / self.timescale))


@dataclass(frozen=True)
class WarmRestarts(Schedule):
    """Cosine waves from ``start`` to ``end``, again and again (SGDR, arXiv:1608.03983, eq. 5).

    Attributes:
        start: Peak of the first wave.
        end: Floor of every wave.
        period: Length of the first wave in epochs.
        growth: Each wave is this many times as long as the one before (SGDR's T_mult), at least 1.
        decay: The height above ``end`` is multiplied by this at each restart.
        wave: ``"half"`` jumps back to the peak; ``"full"`` climbs back to it.
    """

    start: float
    end: float = 0.0
    period: float = 10.0
    growth: float = 1.0
    decay: float = 1.0
    wave: Literal["half", "full"] = "half"
    _scales = ("start", "end")
    _positive = ("period",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "wave", self.wave, "half", "full")
        if self.growth < 1.0:
            raise ValueError(f"WarmRestarts: growth must be at least 1, got {self.growth}.")

    def _value(self, clock: Clock) -> float:
        index, fraction = self._wave_at(clock.epochs / self.period)
        angle = math.pi * fraction * (1 if self.wave == "half" else 2)
        height = (self.start - self.end) * self.decay**index
        return float(self.end + height * 0.5 * (1.0 + math.cos(angle)))

    def _wave_at(self, periods: float) -> tuple[int, float]:
        """Restarts done after so many first periods, and the fraction of the running wave."""
        if self.growth == 1.0:
            index, begin = math.floor(periods + 1e-9), float(math.floor(periods + 1e-9))
        else:  # waves 0 ... n - 1 last (growth ** n - 1) / (growth - 1) first periods together
            waves = math.log1p(periods * (self.growth - 1.0)) / math.log(self.growth)
            index = math.floor(waves + 1e-9)
            begin = (self.growth**index - 1.0) / (self.growth - 1.0)
        return index, max((periods - begin) / self.growth**index, 0.0)
