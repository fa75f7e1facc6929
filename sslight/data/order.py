"""The order of an epoch: a permutation that can be asked for any part of itself."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sslight.augment.draws import seed_of, uniforms

#: Up to so many images a permutation is drawn and kept: 128 MB for the largest.
KEPT = 1 << 24
#: Rounds of the network; four already hide the position.
_ROUNDS = 6


class EpochOrder:
    """A permutation of ``range(num_images)`` that (seed, epoch) decide.

    Up to 16 million images it is a shuffled list. A list of a billion would take 8 GB and a minute
    in every process, so beyond that image ``i`` of the epoch is computed from ``i``: position =
    (row, column) of a grid; in turns, the row is shifted by a hash of the column and the column by
    one of the row (a Feistel network; Luby & Rackoff, 1988). Every shift can be undone, so no image
    comes twice. Positions of the grid beyond the last image are sent on until they meet one.

    Args:
        num_images: Images of the split.
        seed: The run's seed.
        epoch: Which epoch.
    """

    def __init__(self, num_images: int, seed: int, epoch: int) -> None:
        self.num_images = num_images
        self._kept: Tensor | None = None
        if num_images <= KEPT:
            generator = torch.Generator().manual_seed(seed_of(seed, epoch, 2))
            self._kept = torch.randperm(num_images, generator=generator)
        self._key, self._epoch = seed_of(seed, 7), epoch
        self._columns = math.isqrt(max(num_images - 1, 0)) + 1
        self._rows = -(-num_images // self._columns)

    def __len__(self) -> int:
        return self.num_images

    def __getitem__(self, part: slice) -> Tensor:
        """Return the images at the positions of a slice, int64."""
        if self._kept is not None:
            return self._kept[part]
        at = self._moved(torch.arange(*part.indices(self.num_images)))
        while len(beyond := (at >= self.num_images).nonzero().flatten()):
            at[beyond] = self._moved(at[beyond])
        return at

    def _moved(self, at: Tensor) -> Tensor:
        row, column = at // self._columns, at % self._columns
        for turn in range(0, _ROUNDS, 2):
            row = (row + self._hash(column, turn, self._rows)) % self._rows
            column = (column + self._hash(row, turn + 1, self._columns)) % self._columns
        return row * self._columns + column

    def _hash(self, value: Tensor, turn: int, below: int) -> Tensor:
        drawn = uniforms(self._key, self._epoch, value, turn, 1).squeeze(1)
        return (drawn * below).to(torch.int64)
