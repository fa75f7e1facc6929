"""Figures in, sentences out; every rule is met on both sides of its threshold."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest

from sslight.doctor import advice
from sslight.doctor.duplicates import Copies
from sslight.doctor.images import LabelFacts, SplitFacts
from sslight.doctor.step import StepFigures
from sslight.doctor.words import Finding

FACTS = SplitFacts("train", 100, 100, (), np.full((100, 2), 64), Counter({3: 100}), 0, None)
STEP = StepFigures(
    images=64,
    accumulate=1,
    laps=8,
    wait=0.0,
    augment=0.01,
    compute=0.09,
    load=0.2,
    workers=4,
    before_epoch=0.0,
    loss=4.0,
    memory=60 * 2**30,
    device="NVIDIA X",
    device_memory=80 * 2**30,
)
CPU = {"device": "CPU", "device_memory": None}
GPU16 = advice.Situation(cores=16, precision="bf16-mixed")


def step(**changes) -> StepFigures:
    return dataclasses.replace(STEP, **changes)


def texts(findings) -> list[str]:
    return [f"{finding.kind}: {finding.text}" for finding in findings]


def one(findings) -> str:
    (text,) = texts(findings)
    return text


# ------------------------------------------------------------------ images


def facts(**changes) -> SplitFacts:
    return dataclasses.replace(FACTS, **changes)


def test_good_images_need_no_word():
    assert texts(advice.on_images(FACTS, "raise")) == []


def test_bad_images_stop_training_unless_the_config_says_otherwise():
    bad = facts(bad=("x.jpg: truncated",), sizes=np.full((99, 2), 64))
    said = one(advice.on_images(bad, "raise"))
    assert said.startswith("problem: data.train: 1 of 100 images cannot be read: x.jpg: truncated.")
    assert "data.on_error=replace" in said
    assert one(advice.on_images(bad, "skip")).startswith("note:")


def test_channels_must_agree():
    said = one(advice.on_images(facts(channels=Counter({3: 90, 1: 10})), "raise"))
    assert said.startswith("problem:")
    assert "10 with 1, 90 with 3" in said


def test_grey_images_are_noted():
    assert "every image opened is grey" in one(advice.on_images(facts(grey=100), "raise"))
    assert texts(advice.on_images(facts(grey=99), "raise")) == []


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"a": 50, "b": 50}, None),
        ({"a": 100}, "all labelled images are of one class (a)"),
        ({"a": 95, "b": 5}, None),
        ({"a": 96, "b": 4}, "a has 96 images and b 4"),
        ({"a": 50, "b": 50, "c": 0}, "1 class without an image: c"),
    ],
)
def test_labels(counts, said):
    found = texts(advice.on_images(facts(labels=LabelFacts(counts, 0)), "raise"))
    assert bool(found) == (said is not None)
    assert said is None or said in found[0]


def test_copies():
    none = Copies(("train", "test"), (10, 10), (10, 10), False, (), 0)
    assert texts(advice.on_copies(none)) == []
    two = dataclasses.replace(none, pairs=(("a", "b"), ("c", "d")))
    said = one(advice.on_copies(two))
    assert said.startswith("problem: 2 images of data.test are also in data.train: b = a, d = c.")
    assert one(advice.on_copies(dataclasses.replace(none, inside=1))).startswith("note:")


@pytest.mark.parametrize(
    ("side", "size", "said"),
    [(64, 64, None), (64, 96, None), (64, 97, "data.views.size=64"), (200, 32, "about 96 px")],
)
def test_views_and_images_should_be_of_a_size(side, size, said):
    found = texts(advice.on_view_size(facts(sizes=np.full((9, 2), side)), size))
    assert bool(found) == (said is not None)
    assert said is None or said in found[0]


# ------------------------------------------------------------------ the step


def test_a_good_step_needs_no_word():
    assert texts(advice.on_step(STEP, GPU16)) == []


def test_waiting_asks_for_as_many_workers_as_keep_up():
    slow = step(load=0.55, workers=2)  # two deliver in 0.275 s, the device takes 0.1 s
    assert slow.steady_wait == pytest.approx(0.175)
    assert slow.step == pytest.approx(0.275)
    said = one(advice.on_waiting(slow, GPU16))
    assert said.startswith("advice: data.workers=6: 64% of a step is waiting for data")
    assert "one worker needs 550 ms for a batch, the device 100 ms" in said


def test_too_few_cores_ask_for_cheaper_batches():
    slow = step(load=0.55, workers=3)
    said = one(advice.on_waiting(slow, dataclasses.replace(GPU16, cores=4)))
    assert said.startswith("advice: Make batches cheaper to load")
    assert "asks for 6 workers, and there are 3 cores" in said
    shared = dataclasses.replace(GPU16, ranks=4)  # 16 cores for four devices
    assert "3 cores" in one(advice.on_waiting(slow, shared))


def test_workers_hide_what_they_load():
    assert step(load=0.39).steady_wait == 0
    assert step(load=0.39, workers=0, wait=0.39).steady_wait == 0.39


@pytest.mark.parametrize(
    ("gib", "accumulate", "said"),
    [
        (60, 1, None),
        (75, 1, "trainer.accumulate_grad_batches=2"),
        (75, 4, "trainer.accumulate_grad_batches=8"),
        (30, 1, "data.batch_size=128 would fit"),
        (8, 1, "data.batch_size=512 would fit"),
        (30, 4, "trainer.accumulate_grad_batches=2"),
    ],
)
def test_memory(gib, accumulate, said):
    found = texts(advice.on_memory(step(memory=gib * 2**30, accumulate=accumulate), GPU16))
    assert bool(found) == (said is not None)
    assert said is None or said in found[0]


def test_what_accumulation_does_to_contrastive_methods_is_said():
    contrastive = dataclasses.replace(GPU16, exact_accumulation=False)
    assert "gradcache" in one(advice.on_memory(step(memory=79 * 2**30), contrastive))


@pytest.mark.parametrize(
    ("precision", "bf16", "on", "said"),
    [
        ("bf16-mixed", True, {}, None),
        ("32-true", True, {}, "trainer.precision=bf16-mixed"),
        ("32", False, {}, "trainer.precision=16-mixed"),
        ("32-true", True, CPU, None),
        ("64-true", True, CPU, None),
        ("bf16-mixed", True, CPU, "Compare with trainer.precision=32-true"),
    ],
)
def test_precision(precision, bf16, on, said):
    situation = advice.Situation(precision=precision, takes_bf16=bf16)
    found = texts(advice.on_precision(step(**on), situation))
    assert bool(found) == (said is not None)
    assert said is None or said in found[0]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_a_problem(loss):
    assert texts(advice.on_step(step(loss=loss), GPU16))[0].startswith("problem: The loss is")


def test_an_idle_gpu_is_named():
    idle = advice.Situation(gpu_idle=True)
    assert "trainer.accelerator=gpu" in one(advice.on_step(step(**CPU), idle))


# ------------------------------------------------------------------ the whole


def test_length():
    run = advice.length(step(before_epoch=2.0), steps=250, per_epoch=100)
    assert run.epoch == pytest.approx(100 * 0.1 + 2)
    assert run.total == pytest.approx(250 * 0.1 + 3 * 2)  # three epochs are begun


def test_long_and_short_trainings_are_judged():
    assert texts(advice.on_length(advice.Length(1, 3600, 1000, 10), STEP)) == []
    assert "999 steps in all is little" in one(advice.on_length(advice.Length(1, 1, 999, 9), STEP))
    long = advice.Length(1, 4 * 86400, 10**6, 10)
    assert "the whole takes 4.0 d" in one(advice.on_length(long, STEP))
    assert "or a GPU" in one(advice.on_length(long, step(**CPU)))


def test_problems_come_first():
    kinds = ("note", "advice", "problem", "advice")
    found = advice.sort([Finding(kind, str(i)) for i, kind in enumerate(kinds)])
    assert [finding.text for finding in found] == ["2", "1", "3", "0"]
