from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch

from sslight.modules.permutations import all_permutations, permutation_set


def distances(chosen: torch.Tensor) -> torch.Tensor:
    return (chosen[:, None] != chosen).sum(-1)


@pytest.mark.parametrize("length", [2, 4, 6])
def test_all_permutations(length):
    table = all_permutations(length).T.tolist()
    assert sorted(map(tuple, table)) == list(permutations(range(length)))


@pytest.mark.parametrize("criterion", ["average", "minimum"])
@pytest.mark.parametrize(("length", "count"), [(3, 6), (4, 20), (5, 30)])
def test_each_is_as_far_as_can_be_from_those_before_it(criterion, length, count):
    chosen = permutation_set(count, length, criterion=criterion)
    assert len(chosen.unique(dim=0)) == count
    measure = torch.mean if criterion == "average" else torch.amin
    everything = torch.tensor(list(permutations(range(length))))
    for k in range(1, count):
        left = (everything[:, None] != chosen[:k]).any(-1).all(1)
        apart = (everything[left][:, None] != chosen[:k]).sum(-1)
        best = measure(apart.double(), 1).max()
        mine = measure((chosen[k] != chosen[:k]).sum(-1)[None].double(), 1)
        torch.testing.assert_close(mine[0], best)


def test_a_function_of_its_arguments():
    first = permutation_set(12, 5, seed=1)
    assert torch.equal(first, permutation_set(12, 5, seed=1))
    assert torch.equal(first[:7], permutation_set(7, 5, seed=1))
    assert not torch.equal(first, permutation_set(12, 5, seed=2))
    first += 1  # the caller's own copy
    assert torch.equal(first - 1, permutation_set(12, 5, seed=1))


def test_the_puzzle_of_nine():
    """The same on every machine: at first 9 that differ everywhere."""
    chosen = permutation_set(100)
    assert chosen.shape == (100, 9)
    assert torch.equal(chosen.sort(1).values, torch.arange(9).expand(100, 9))
    apart = distances(chosen)[~torch.eye(100, dtype=torch.bool)]
    assert (distances(chosen[:9]) + 9 * torch.eye(9, dtype=torch.int64) == 9).all()
    assert apart.float().mean() > 8
    assert chosen[:2].tolist() == [[6, 1, 4, 3, 5, 8, 2, 7, 0], [0, 7, 2, 6, 4, 1, 8, 5, 3]]


def test_every_permutation_can_be_chosen():
    assert len(permutation_set(math.factorial(4), 4).unique(dim=0)) == 24


def test_what_cannot_be_chosen_is_refused():
    for count, length in ((25, 4), (0, 4), (5, 10), (1, 1)):
        with pytest.raises(ValueError, match=f"cannot choose {count} of {length} things'"):
            permutation_set(count, length)
    with pytest.raises(ValueError, match="'mean' is not one of"):
        permutation_set(2, 4, criterion="mean")
