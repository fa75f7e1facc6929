from __future__ import annotations

import dataclasses

import pytest

from sslight.schedules import Clock


def test_counts_epochs_and_progress():
    clock = Clock(step=25, total=100, per_epoch=10)
    assert clock.progress == 0.25
    assert clock.epoch == 2
    assert clock.epochs == 2.5
    assert clock.total_epochs == 10.0
    assert clock.at_epoch_start() == Clock(20, 100, 10)


def test_progress_stays_within_one_after_the_end():
    assert Clock(101, 100, 10).progress == 1.0


def test_unknown_length_says_so_only_where_it_matters():
    clock = Clock(3, -1, 10)
    assert clock.epochs == 0.3
    with pytest.raises(ValueError, match=r"total=-1 steps.*max_epochs"):
        _ = clock.progress


def test_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Clock(0, 1, 1).step = 2  # type: ignore[misc]
