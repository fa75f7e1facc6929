"""Values that change while training: pure functions of a ``Clock``, never of stored state.

A schedule is a frozen dataclass: picklable, comparable, and its fields are what a YAML may write,
``{name: cosine, start: 0.04, end: 0.4}``. The value before optimizer step k is
``schedule(Clock(step=k, ...))`` with ``k = 0 ... total - 1``, and progress is ``step / total``: the
first step sees ``start``, the last one the value at ``(total - 1) / total``, one step short of
``end``. Lengths are in epochs (fractions allowed) or, in ``Sequence``, in fractions of training.
"""

from __future__ import annotations

from sslight.schedules.base import Constant, Schedule, as_schedule
from sslight.schedules.clock import Clock
from sslight.schedules.composition import Sequence, Warmup, warmup
from sslight.schedules.curves import (
    Cosine,
    InverseSqrt,
    Linear,
    MultiStep,
    Polynomial,
    Step,
    WarmRestarts,
)

SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "linear": Linear,
    "cosine": Cosine,
    "polynomial": Polynomial,
    "step": Step,
    "multistep": MultiStep,
    "inverse_sqrt": InverseSqrt,
    "warm_restarts": WarmRestarts,
    "sequence": Sequence,
    "warmup": Warmup,
}

__all__ = [
    "SCHEDULES",
    "Clock",
    "Constant",
    "Cosine",
    "InverseSqrt",
    "Linear",
    "MultiStep",
    "Polynomial",
    "Schedule",
    "Sequence",
    "Step",
    "WarmRestarts",
    "Warmup",
    "as_schedule",
    "warmup",
]
