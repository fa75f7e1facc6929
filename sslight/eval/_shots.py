"""A few labelled rows per class, drawn from a train split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sslight.errors import RefusedRunError

#: Rows on which the cost is chosen, at most.
_HELD = 5000


@dataclass(frozen=True)
class Pool:
    """Labelled rows, some of which are held out before any are drawn.

    Attributes:
        targets: ``[N]`` class ids, or ``[N, K]`` in {1, 0, -1 unknown}.
        rows: The rows that may be drawn.
        held: The rows on which a cost is chosen.
    """

    targets: Tensor
    rows: np.ndarray
    held: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, targets: Tensor, held_out: float, seed: int) -> Pool:
        """Hold out a share of the rows, 5000 at most."""
        order = np.random.default_rng(seed).permutation(rows)
        held = min(max(1, round(len(rows) * held_out)), _HELD)
        if held >= len(rows):
            raise RefusedRunError(f"lowshot: {len(rows)} labelled train images are too few.")
        return cls(targets, np.sort(order[held:]), np.sort(order[:held]))

    @property
    def classes(self) -> list[int]:
        """Classes with a positive among the rows that may be drawn."""
        drawn = self.targets[self.rows]
        if drawn.ndim == 2:
            return [int(c) for c in torch.nonzero((drawn == 1).any(0))]
        return [int(c) for c in np.unique(drawn.numpy())]

    def smallest(self) -> tuple[int, int]:
        """The class with fewest positives to draw, and their number."""
        count, number = min((len(self._with(c, 1)), c) for c in self.classes)
        return number, count

    def draw(self, k: int, seed: int, negatives: int) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Draw k positives of every class; what is drawn for a smaller k is among them.

        Args:
            k: Positives per class.
            seed: Of the draw.
            negatives: For several labels per image: negatives per positive. With one label per
                image the negatives of a class are what was drawn for the others.

        Returns:
            Class to rows, ascending, and whether each is a positive.
        """
        positives = {c: self._some(c, 1, k, seed) for c in self.classes}
        if self.targets.ndim == 1:
            rows = np.sort(np.concatenate(list(positives.values())))
            return {c: (rows, np.isin(rows, mine)) for c, mine in positives.items()}
        found = {}
        for c, mine in positives.items():
            rows = np.sort(np.concatenate([mine, self._some(c, 0, negatives * k, seed)]))
            found[c] = rows, np.isin(rows, mine)
        return found

    def _some(self, number: int, value: int, count: int, seed: int) -> np.ndarray:
        draw = np.random.default_rng([seed, number, value])
        return draw.permutation(self._with(number, value))[:count]

    def _with(self, number: int, value: int) -> np.ndarray:
        """Rows where a class is present (1) or absent (0)."""
        drawn = self.targets[self.rows]
        if drawn.ndim == 1:
            return self.rows[np.flatnonzero((drawn == number) == bool(value))]
        return self.rows[np.flatnonzero(drawn[:, number] == value)]
