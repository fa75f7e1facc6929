from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from sslight import schedules as S
from sslight.schedules import Clock, as_schedule

EXAMPLES = {
    "constant": S.Constant(0.3),
    "linear": S.Linear(0.1, 0.7),
    "cosine": S.Cosine(0.4, 0.04),
    "polynomial": S.Polynomial(0.4, 0.1, power=2.0),
    "step": S.Step(0.4, every=2.0),
    "multistep": S.MultiStep((0.4, 0.1, 0.02), (2.0, 5.0)),
    "inverse_sqrt": S.InverseSqrt(0.4, timescale=2.0),
    "warm_restarts": S.WarmRestarts(0.4, 0.05, period=1.5, growth=2.0, decay=0.5),
    "sequence": S.Sequence((S.Linear(0.0, 0.4), S.Cosine(0.4, 0.1)), (0.2, 0.8)),
    "warmup": S.Warmup(S.Cosine(0.4, 0.1), epochs=1.5, start=0.01),
}


def curve(schedule: S.Schedule, total: int = 100, per_epoch: int = 10) -> list[float]:
    return [schedule(Clock(k, total, per_epoch)) for k in range(total)]


def test_the_table_names_every_schedule_once():
    assert set(S.SCHEDULES) == set(EXAMPLES)
    assert {type(example) for example in EXAMPLES.values()} == set(S.SCHEDULES.values())


@pytest.mark.parametrize("name", EXAMPLES)
def test_scaling_multiplies_every_value(name):
    schedule = EXAMPLES[name]
    expected = [3.0 * value for value in curve(schedule)]
    assert curve(schedule.scaled(3.0)) == pytest.approx(expected, rel=1e-12)
    assert type(schedule.scaled(3.0)) is type(schedule)


@pytest.mark.parametrize("name", EXAMPLES)
def test_per_epoch_holds_the_value_of_the_epochs_start(name):
    import dataclasses

    schedule = EXAMPLES[name]
    held = dataclasses.replace(schedule, per="epoch")
    steps = curve(schedule)
    assert curve(held) == [steps[k // 10 * 10] for k in range(100)]
    assert held.scaled(2.0).per == "epoch"


@pytest.mark.parametrize("name", EXAMPLES)
def test_pickles_compares_hashes_and_shows_its_fields(name):
    schedule = EXAMPLES[name]
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert hash(schedule) == hash(pickle.loads(pickle.dumps(schedule)))
    assert repr(schedule).startswith(type(schedule).__name__ + "(")


def test_lists_become_tuples():
    assert S.MultiStep([0.4, 0.1], [2.0]) == S.MultiStep((0.4, 0.1), (2.0,))


def test_a_wrong_word_is_named():
    with pytest.raises(ValueError, match="Cosine: per must be 'step' or 'epoch', got 'batch'"):
        S.Cosine(0.1, per="batch")


def test_as_schedule():
    assert as_schedule(2) == S.Constant(2.0)
    assert as_schedule(S.Linear(1.0)) == S.Linear(1.0)
    with pytest.raises(TypeError, match=r"got str 'cosine'.*\{name: cosine"):
        as_schedule("cosine")
    with pytest.raises(TypeError, match="got bool"):
        as_schedule(True)


def test_needs_no_torch():
    code = "import sys, sslight.schedules; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
