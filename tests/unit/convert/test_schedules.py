"""Learning rates: the numbers that VISSL reaches, at each progress of a training."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from sslight import Recipe, config
from sslight.config.parse import parse
from sslight.convert import convert
from sslight.schedules import Clock

VISSL = Path(__file__).parent / "vissl"


def rate(name: str, progress: float, total: int = 100_000, **changes) -> float:
    """The converted recipe's learning rate for its own batch."""
    tree = parse((VISSL / f"{name}.yaml").read_text(), name).tree
    tree["config"]["DISTRIBUTED"] |= changes
    found = convert(tree).config
    recipe = config.make(Recipe, found["optim"])
    epochs = found["trainer"]["max_epochs"]
    clock = Clock(round(progress * total), total, total // epochs)
    return recipe.scaled_lr(found["data"]["batch_size"])(clock)


def half_wave(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


@pytest.mark.parametrize("progress", [0.03, 0.25, 0.7, 0.99])
def test_swav_on_eight_machines(progress):
    """From 0.6 (one machine's batch) to 4.8, then the wave of the whole training to 0.0048."""
    assert rate("swav", progress) == pytest.approx(half_wave(4.8, 0.0048, progress), rel=1e-6)


def test_swavs_warmup():
    assert rate("swav", 0.0) == pytest.approx(0.6)
    assert rate("swav", 0.0125) == pytest.approx((0.6 + 4.8) / 2, rel=1e-4)


@pytest.mark.parametrize(
    ("machines", "per_device", "start", "end"),
    [
        (2, 512, 0.3 * 16, 0.3 * 32**0.5),  # a descent: VISSL keeps it
        (1, 512, 0.3 * 16, 0.3 * 16**0.5),
        (1, 8, 0.3 * 0.25**0.5, None),  # from a quarter up to half of the base rate: dropped
    ],
)
def test_a_warmup_under_scaling_by_the_root(machines, per_device, start, end):
    """It starts at the linearly scaled rate of one machine's batch, of 8 devices, base 256."""
    tree = parse((VISSL / "swav.yaml").read_text(), "swav").tree
    tree["config"]["DISTRIBUTED"]["NUM_NODES"] = machines
    tree["config"]["DATA"]["TRAIN"]["BATCHSIZE_PER_REPLICA"] = per_device
    lr = tree["config"]["OPTIMIZER"]["param_schedulers"]["lr"]
    lr["auto_lr_scaling"]["scaling_type"] = "sqrt"
    found = convert(tree).config
    schedule = config.make(Recipe, found["optim"]).scaled_lr(found["data"]["batch_size"])
    assert schedule(Clock(0, 100_000, 250)) == pytest.approx(start)
    if end is None:
        assert found["optim"]["lr"]["name"] == "cosine"
    else:
        assert schedule(Clock(2_499, 100_000, 250)) == pytest.approx(end, rel=2e-3)


@pytest.mark.parametrize("progress", [0.0, 0.1, 0.5])
def test_on_one_machine_the_warmup_goes_and_the_wave_spans_all(progress):
    expected = half_wave(0.3 * 512 / 256, 0.0006, progress)
    assert rate("swav", progress, NUM_NODES=1) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("epoch", "expected"), [(0, 0.1), (31, 0.01), (61, 1e-3), (101, 1e-5)])
def test_steps(epoch, expected):
    assert rate("supervised", epoch / 105, total=105_000) == pytest.approx(expected)


@pytest.mark.parametrize(("machines", "epoch", "expected"), [
    (4, 0, 0.1), (4, 4, 0.34), (4, 5, 0.4), (4, 30, 0.04), (1, 0, 0.1), (1, 30, 0.01),
])  # fmt: skip
def test_jigsaws_warmup_is_one_machines_rate_and_on_one_machine_there_is_none(
    machines, epoch, expected
):
    total = 105_000
    assert rate("jigsaw", epoch / 105, total, NUM_NODES=machines) == pytest.approx(expected)


def test_steps_scale_with_the_batch():
    assert rate("supervised", 0.0, total=105_000, NUM_NODES=4) == pytest.approx(0.4)


def test_a_rate_that_is_not_scaled_is_as_written():
    assert rate("dino", 0.0, total=300_000) == pytest.approx(1e-5)
    assert rate("dino", 0.04, total=300_000) == pytest.approx(half_wave(2e-3, 1e-5, 0.04), rel=1e-3)
