from __future__ import annotations

import pytest
import torch
from torch import nn

from sslight.modules.snapshot import Snapshot
from sslight.schedules import Clock


def taken(start: int, every: int | None, epochs: int = 8) -> list[float]:
    """What the copy holds during each epoch, of a weight that is the number of the epoch."""
    source = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    source[0].weight.data.fill_(-1)
    snapshot, seen = Snapshot(source, start, every), []
    for epoch in range(epochs):
        source[0].weight.data.fill_(epoch)
        source[1].running_mean.fill_(epoch)
        clock = Clock(step=5 * epoch, total=100, per_epoch=5)
        snapshot.before_epoch(clock)
        seen.append(snapshot.copy[0].weight.item())
        assert snapshot.exists(clock) == (seen[-1] >= 0)
        if snapshot.exists(clock):
            assert snapshot.copy[1].running_mean.item() == seen[-1]
    return seen


def test_a_single_copy():
    assert taken(0, None) == [0] * 8
    assert taken(3, None) == [-1, -1, -1, 3, 3, 3, 3, 3]


def test_copies_every_few_epochs():
    assert taken(1, 3) == [-1, 1, 1, 1, 4, 4, 4, 7]
    assert taken(2, 1) == [-1, -1, 2, 3, 4, 5, 6, 7]


def test_it_is_frozen_and_saved_and_its_source_is_not_saved_with_it():
    snapshot = Snapshot(nn.Linear(2, 2))
    assert not any(p.requires_grad for p in snapshot.parameters())
    assert list(snapshot.state_dict()) == ["copy.weight", "copy.bias"]


def test_the_copy_is_one():
    source = nn.Linear(2, 2)
    snapshot = Snapshot(source)
    snapshot.before_epoch(Clock(0, 10, 5))
    before = snapshot.copy.weight.clone()
    source.weight.data.add_(1)
    assert torch.equal(snapshot.copy.weight, before)


@pytest.mark.parametrize(("start", "every"), [(-1, None), (0, 0)])
def test_refuses_epochs_that_are_none(start, every):
    with pytest.raises(ValueError, match=f"start is epoch {start} and every {every} epochs"):
        Snapshot(nn.Linear(2, 2), start, every)
