"""A linear classifier of stored features, its settings chosen from a grid on held-out rows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from sslight.errors import RefusedRunError
from sslight.eval._heads import Heads, Settings, fit_heads
from sslight.eval._rows import BLOCK
from sslight.eval._scores import accuracies, mean_average_precision

#: Numbers in a block of logits; 256 MB in float32.
_LOGITS = 2**26


@dataclass(frozen=True)
class Fit:
    """A trained classifier and the pair of settings that the held-out rows chose."""

    heads: Heads
    lr: float
    weight_decay: float


@dataclass(frozen=True)
class Probe:
    """How a linear classifier is trained: every pair of settings at once, the best one again.

    Attributes:
        lr: Learning rates.
        weight_decay: Weight decays.
        epochs: Passes over the features.
        batch_size: Features per step.
        held_out: Share of the train rows on which the pair is chosen.
        seed: Of the held-out part and the order.
    """

    lr: list[float] = (0.3, 1.0, 3.0, 10.0, 30.0)  # type: ignore[assignment]
    weight_decay: list[float] = (0.0, 1e-5, 1e-4, 1e-3)  # type: ignore[assignment]
    epochs: int = 100
    batch_size: int = 256
    held_out: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings without sense."""
        if not self.grid or min(self.lr) <= 0 or min(self.weight_decay) < 0:
            raise ValueError(
                f"linear: lr is {list(self.lr)} and weight_decay {list(self.weight_decay)}; give "
                "one or more learning rates above 0 and weight decays from 0."
            )
        if self.epochs < 1 or self.batch_size < 1 or not 0 < self.held_out < 1:
            raise ValueError(
                f"linear: got epochs={self.epochs}, batch_size={self.batch_size}, "
                f"held_out={self.held_out}; the first two count from 1, held_out lies between 0 "
                "and 1."
            )

    @property
    def grid(self) -> list[tuple[float, float]]:
        """The pairs of learning rate and weight decay."""
        return list(itertools.product(self.lr, self.weight_decay))

    def fit(self, features: Any, targets: Tensor, rows: np.ndarray, device: Any) -> Fit:
        """Choose on a part of the rows, then train on all of them.

        Args:
            features: ``[N, D]``, sliced by sorted rows.
            targets: ``[N]`` class ids, or ``[N, K]`` in {1, 0, -1 ignored}.
            rows: The labelled rows.
            device: Where to compute.
        """
        lr, decay = self._chosen(features, targets, rows, device)
        return Fit(self._trained(features, targets, rows, [(lr, decay)], device), lr, decay)

    def _chosen(
        self, features: Any, targets: Tensor, rows: np.ndarray, device: Any
    ) -> tuple[float, float]:
        """The pair whose head, trained on one part of the rows, does best on the other."""
        if len(self.grid) == 1:
            return self.grid[0]
        order = np.random.default_rng(self.seed).permutation(rows)
        held = np.sort(order[: max(1, round(len(rows) * self.held_out))])
        trained = np.sort(order[len(held) :])
        if not len(trained):
            raise RefusedRunError(f"linear: {len(rows)} labelled train images are too few.")
        heads = self._trained(features, targets, trained, self.grid, device)
        scores = _scores(heads, features, targets, held)
        return self.grid[max(range(len(scores)), key=scores.__getitem__)]

    def _trained(
        self, features: Any, targets: Tensor, rows: np.ndarray, grid: Any, device: Any
    ) -> Heads:
        lr, decay = torch.tensor(grid, dtype=torch.float64).unbind(1)
        settings = Settings(lr, decay, self.epochs, self.batch_size, self.seed)
        return fit_heads(features, targets, rows, settings, device)


def logits(heads: Heads, features: Any, rows: np.ndarray) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Blocks of rows and their logits ``[b, G, K]``, on the CPU, of bounded size."""
    groups, outputs = heads.bias.shape
    step = max(1, min(BLOCK, _LOGITS // (groups * outputs)))
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        yield block, heads(features[block]).cpu()


def figures(
    heads: Heads, features: Any, targets: Tensor, rows: np.ndarray, mask: Tensor | None = None
) -> dict[str, float]:
    """Accuracies, or for several labels per image ``map``, of the first head.

    Args:
        heads: The classifier.
        features: ``[N, D]``.
        targets: ``[N]``, or ``[N, K]``.
        rows: The rows to measure on.
        mask: ``[K]`` bool, the classes that may be chosen; all of them by default.
    """
    found = ((block, values[:, 0]) for block, values in logits(heads, features, rows))
    if targets.ndim == 2:
        return {"map": mean_average_precision(torch.cat([x for _, x in found]), targets[rows])}
    if mask is not None:
        found = ((block, values.masked_fill(~mask, -math.inf)) for block, values in found)
    return accuracies((values, targets[block]) for block, values in found)


def _scores(
    heads: Heads, features: Any, targets: Tensor, rows: np.ndarray
) -> list[tuple[float, float]]:
    """What each head is chosen by; a diverged one comes last."""
    if targets.ndim == 2:
        return [_map(heads, g, features, targets, rows) for g in range(len(heads.bias))]
    right, loss = (torch.zeros(len(heads.bias), dtype=torch.float64) for _ in range(2))
    finite = torch.ones(len(heads.bias), dtype=torch.bool)
    for block, values in logits(heads, features, rows):
        finite &= values.isfinite().all(dim=2).all(dim=0)
        right += (values.argmax(dim=2) == targets[block][:, None]).sum(0)
        for g in range(len(loss)):
            wide = _widened(values[:, g], targets[block])
            loss[g] += cross_entropy(wide, targets[block], reduction="sum").double()
    return [
        (float(right[g]), -float(loss[g])) if finite[g] else (-1.0, -math.inf)
        for g in range(len(loss))
    ]


def _map(
    heads: Heads, head: int, features: Any, targets: Tensor, rows: np.ndarray
) -> tuple[float, float]:
    """Mean average precision of one head, whose logits alone are in memory."""
    alone = Heads(heads.weight[head][None], heads.bias[head][None], heads.mean, heads.scale)
    values = torch.cat([x[:, 0] for _, x in logits(alone, features, rows)])
    if not bool(values.isfinite().all()):
        return -1.0, -math.inf
    return mean_average_precision(values, targets[rows]), 0.0


def _widened(values: Tensor, targets: Tensor) -> Tensor:
    """Give classes that only the held-out part has an output that is never chosen."""
    missing = max(0, int(targets.max()) + 1 - values.shape[1])
    return pad(values, (0, missing), value=-1e9)
