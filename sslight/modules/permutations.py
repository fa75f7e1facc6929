"""Sets of permutations that are far from each other, for jigsaw puzzles."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Criterion = Literal["average", "minimum"]

#: Above any score: 9 agreements with each of at most 9! permutations.
_CHOSEN = np.int32(1 << 30)


def permutation_set(
    count: int, length: int = 9, *, criterion: Criterion = "average", seed: int = 0
) -> Tensor:
    """Choose permutations one after the other, each as far as can be from those before it.

    Distance is Hamming's: the places at which two permutations differ. The first is random; the
    next has the largest average (Noroozi & Favaro, 2016, arXiv:1603.09246, algorithm 1) or minimum
    distance to all chosen ones. Ties are broken at random, by the seed alone: the same arguments
    give the same set on any machine. All candidates are compared, a millisecond per choice among
    9!, so ``length`` is at most 9.

    Args:
        count: Permutations, ``[count, length]`` in the result.
        length: Things permuted.
        criterion: ``average``, or ``minimum``, which leaves no close pair but takes chances less
            evenly.
        seed: Of the first one and of ties.
    """
    if criterion not in get_args(Criterion):
        raise ValueError(f"permutations: {criterion!r} is not one of {get_args(Criterion)}.")
    if not 2 <= length <= 9 or not 1 <= count <= math.factorial(length):
        raise ValueError(
            f"permutations: cannot choose {count} of {length} things' permutations; give a length "
            "of 2 to 9, and a number from 1 to its factorial."
        )
    return torch.tensor(_chosen(count, length, criterion, seed), dtype=torch.int64)


@lru_cache(maxsize=4)
def _chosen(count: int, length: int, criterion: Criterion, seed: int) -> NDArray[np.uint8]:
    candidates = all_permutations(length)
    # RandomState's stream is frozen for good, unlike that of torch's and numpy's newer generators.
    candidates = candidates[:, np.random.RandomState(seed).permutation(candidates.shape[1])].copy()
    scores = np.zeros(candidates.shape[1], dtype=np.int32)  # of likeness: small is far
    gather = np.add if criterion == "average" else np.maximum
    chosen = []
    best = np.intp(0)
    for _ in range(count):
        chosen.append(candidates[:, best])
        agreement = (candidates == candidates[:, best, None]).sum(0, dtype=np.uint8)
        gather(scores, agreement, out=scores)
        scores[best] = _CHOSEN
        best = scores.argmin()
    return np.stack(chosen)


def all_permutations(length: int) -> NDArray[np.uint8]:
    """Give all permutations of 0 to ``length - 1``, one a column: ``[length, length!]``."""
    table = np.zeros((1, 1), dtype=np.uint8)
    for size in range(2, length + 1):  # put the new number at each place of each shorter one
        newest = np.full((1, table.shape[1]), size - 1, dtype=np.uint8)
        parts = [np.concatenate([table[:p], newest, table[p:]]) for p in range(size)]
        table = np.concatenate(parts, axis=1)
    return table
