from __future__ import annotations

import math

import pytest

from sslight import schedules as S
from sslight.schedules import Clock


def at(schedule: S.Schedule, step: int, total: int = 100, per_epoch: int = 10) -> float:
    return schedule(Clock(step, total, per_epoch))


@pytest.mark.parametrize(
    ("schedule", "formula"),
    [
        (S.Linear(0.2, 1.0), lambda w: 0.2 * (1 - w) + 1.0 * w),
        (S.Cosine(0.4, 0.04), lambda w: 0.04 + 0.5 * 0.36 * (1 + math.cos(math.pi * w))),
        (S.Polynomial(0.4, power=0.9), lambda w: 0.4 * (1 - w) ** 0.9),
    ],
)
def test_formulas_over_the_whole_training(schedule, formula):
    for step in range(101):
        assert at(schedule, step) == pytest.approx(formula(step / 100), abs=1e-15)


def test_the_ends():
    for schedule in (S.Linear(0.3, 0.1), S.Cosine(0.3, 0.1), S.Polynomial(0.3, 0.1, power=3.0)):
        assert at(schedule, 0) == pytest.approx(0.3)
        assert at(schedule, 100) == pytest.approx(0.1)
        assert at(schedule, 99) > 0.1  # the last step is one short of the end


def test_step_falls_every_span():
    schedule = S.Step(1.0, every=0.3, gamma=0.5)
    values = [at(schedule, k) for k in range(10)]
    assert values == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]


def test_multistep_changes_at_its_milestones():
    schedule = S.MultiStep((3.0, 2.0, 1.0), (1.0, 2.5))
    assert [at(schedule, k) for k in (0, 9, 10, 24, 25, 99)] == [3, 3, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("values", "milestones", "message"),
    [
        ((1.0,), (2.0,), "1 values for 1 milestones"),
        ((1.0, 2.0, 3.0), (5.0, 4.0), "must rise"),
        ((1.0, 2.0), (0.0,), "must rise from above 0"),
    ],
)
def test_multistep_refuses(values, milestones, message):
    with pytest.raises(ValueError, match=message):
        S.MultiStep(values, milestones)


def test_inverse_sqrt():
    schedule = S.InverseSqrt(0.5, timescale=2.0)
    assert at(schedule, 7) == 0.5
    assert at(schedule, 20) == 0.5
    assert at(schedule, 80) == pytest.approx(0.25)


def test_half_waves_jump_back_up():
    schedule = S.WarmRestarts(1.0, 0.2, period=2.0)
    assert at(schedule, 0) == at(schedule, 20) == at(schedule, 40) == 1.0
    assert at(schedule, 10) == pytest.approx(0.6)
    assert 0.2 < at(schedule, 19) < 0.21


def test_growing_and_falling_waves():
    schedule = S.WarmRestarts(1.0, period=1.0, growth=2.0, decay=0.5)
    # Waves of 1, 2 and 4 epochs start at epochs 0, 1, 3 and 7.
    assert [at(schedule, k) for k in (0, 10, 30, 70)] == pytest.approx([1, 0.5, 0.25, 0.125])
    assert at(schedule, 20) == pytest.approx(0.25)
    assert at(schedule, 50) == pytest.approx(0.125)


def test_full_waves_climb_back():
    schedule = S.WarmRestarts(1.0, 0.0, period=2.0, wave="full")
    assert at(schedule, 10) == pytest.approx(0.0)
    assert at(schedule, 19) == pytest.approx(at(schedule, 1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: S.Polynomial(1.0, power=0.0), "Polynomial: power must be above 0"),
        (lambda: S.Step(1.0, every=0), "Step: every must be above 0"),
        (lambda: S.InverseSqrt(1.0, timescale=-1.0), "timescale must be above 0"),
        (lambda: S.WarmRestarts(1.0, period=0.0), "period must be above 0"),
        (lambda: S.WarmRestarts(1.0, growth=0.5), "growth must be at least 1"),
        (lambda: S.WarmRestarts(1.0, wave="whole"), "wave must be 'half' or 'full'"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()
