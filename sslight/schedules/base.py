"""What a schedule is: a frozen dataclass, called with a clock."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, TypeVar

from sslight.schedules.clock import Clock

S = TypeVar("S", bound="Schedule")


@dataclass(frozen=True)
class Schedule(ABC):
    """A value as a pure function of the clock.

    Attributes:
        per: ``"step"`` follows every step; ``"epoch"`` holds the value at the epoch's start.
    """

    per: Literal["step", "epoch"] = field(default="step", kw_only=True)

    _scales: ClassVar[tuple[str, ...]] = ("start",)
    _positive: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Check the fields; subclasses with rules of their own call this first."""
        check_choice(self, "per", self.per, "step", "epoch")
        for name in self._positive:
            if not getattr(self, name) > 0:
                value = getattr(self, name)
                raise ValueError(f"{type(self).__name__}: {name} must be above 0, got {value!r}.")

    def __call__(self, clock: Clock) -> float:
        """The value before the step at which ``clock`` stands."""
        return self._value(clock if self.per == "step" else clock.at_epoch_start())

    @abstractmethod
    def _value(self, clock: Clock) -> float:
        """The value at this clock, ``per`` already applied."""

    def scaled(self: S, factor: float) -> S:
        """The same curve with every value times ``factor``: starts, ends and all ratios stay."""
        return replace(self, **{n: _times(getattr(self, n), factor) for n in self._scales})


@dataclass(frozen=True)
class Constant(Schedule):
    """One value throughout."""

    value: float
    _scales = ("value",)

    def _value(self, clock: Clock) -> float:
        return self.value


def as_schedule(value: float | Schedule) -> Schedule:
    """A schedule as it is; a number as a constant one."""
    if isinstance(value, Schedule):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(
            f"A schedule is a number or a Schedule, got {type(value).__name__} {value!r}. "
            "Write 0.3 or {name: cosine, start: 0.04, end: 0.4}."
        )
    return Constant(float(value))


def _times(value: Any, factor: float) -> Any:
    """``value * factor`` for a number, a schedule, or a tuple of either."""
    if isinstance(value, tuple):
        return tuple(_times(item, factor) for item in value)
    return value.scaled(factor) if isinstance(value, Schedule) else value * factor


def check_choice(owner: object, name: str, value: str, *allowed: str) -> None:
    """Refuse a word outside ``allowed``, naming the class and the field."""
    if value not in allowed:
        known = " or ".join(map(repr, allowed))
        raise ValueError(f"{type(owner).__name__}: {name} must be {known}, got {value!r}.")


def as_tuples(owner: object, *names: str) -> None:
    """Turn lists (from YAML) into tuples, so that equal schedules compare and hash equal."""
    for name in names:
        object.__setattr__(owner, name, tuple(getattr(owner, name)))
