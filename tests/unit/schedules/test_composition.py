from __future__ import annotations

import pytest

from sslight import schedules as S
from sslight.schedules import Clock


def curve(schedule: S.Schedule, total: int = 100, per_epoch: int = 10) -> list[float]:
    return [schedule(Clock(k, total, per_epoch)) for k in range(total)]


def test_rescaled_parts_see_their_own_stretch():
    schedule = S.Sequence((S.Linear(0.0, 1.0), S.Cosine(1.0)), (0.2, 0.8))
    ramp = [S.Linear(0.0, 1.0)(Clock(k, 20, 10)) for k in range(20)]
    fall = [S.Cosine(1.0)(Clock(k, 80, 10)) for k in range(80)]
    assert curve(schedule) == ramp + fall


def test_fixed_parts_see_the_whole_training():
    # VISSL's composite: the cosine has already fallen when the warmup hands over.
    schedule = S.Sequence(
        (S.Linear(0.6, 4.8), S.Cosine(4.8)), (0.1, 0.9), progress=("rescaled", "fixed")
    )
    values = curve(schedule)
    assert values[0] == 0.6
    assert values[10] == pytest.approx(4.68, abs=0.01)
    assert values[10:] == curve(S.Cosine(4.8))[10:]
    assert curve(S.Sequence((S.Linear(1.0),), (1.0,), progress="fixed")) == curve(S.Linear(1.0))


def test_every_step_has_a_part_for_odd_lengths():
    schedule = S.Sequence(tuple(S.Constant(i) for i in range(3)), (0.3333, 0.3333, 0.3333))
    assert curve(schedule, total=10) == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert curve(schedule, total=2) == [0, 2]  # parts shorter than a step are passed over
    assert schedule(Clock(10, 10, 10)) == 2  # one after the last step


@pytest.mark.parametrize(
    ("lengths", "progress", "message"),
    [
        ((0.5, 0.4), "rescaled", "sum to 1.*sum 0.9"),
        ((1.2, -0.2), "rescaled", "above 0"),
        ((1.0,), "rescaled", "equally many"),
        ((0.5, 0.5), "global", "'rescaled' or 'fixed', got 'global'"),
        ((0.5, 0.5), ("fixed",), "got 2, 2 and 1"),
    ],
)
def test_sequence_refuses(lengths, progress, message):
    with pytest.raises(ValueError, match=message):
        S.Sequence((S.Constant(1.0), S.Constant(2.0)), lengths, progress)


def test_lengths_may_be_off_by_a_thousandth():
    S.Sequence((S.Constant(1.0), S.Constant(2.0)), (0.333, 0.6665))


def test_warmup_leads_into_the_schedule_without_a_jump():
    values = curve(S.Warmup(S.Cosine(0.4, 0.1), epochs=1.5, start=0.1))
    assert values[:15] == pytest.approx([0.1 + 0.3 * k / 15 for k in range(15)])
    assert values[15] == 0.4
    assert values[15:] == [S.Cosine(0.4, 0.1)(Clock(k, 85, 10)) for k in range(85)]


def test_warmup_as_long_as_the_training_is_allowed_and_longer_is_not():
    schedule = S.Warmup(S.Cosine(0.4), epochs=10)
    assert schedule(Clock(99, 100, 10)) == pytest.approx(0.4 * 0.99)
    with pytest.raises(ValueError, match=r"10 epochs \(100 steps\).* 5 epochs \(50 steps\)"):
        schedule(Clock(0, 50, 10))
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        S.Warmup(S.Cosine(0.4), epochs=-1)


def test_the_warmup_function():
    assert S.warmup(S.Cosine(0.4), 0) == S.Cosine(0.4)
    assert S.warmup(0.4, 2, start=0.1) == S.Warmup(S.Constant(0.4), 2, 0.1)
