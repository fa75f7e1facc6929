"""The linear probe on stored features: a grid of settings at once, chosen without test images."""

from __future__ import annotations

import itertools
import math
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.classification import multilabel_average_precision

from sslight.errors import RefusedRunError
from sslight.eval._heads import Heads, Settings, fit_heads, logits_of
from sslight.eval._intervals import interval
from sslight.eval._rows import vectors
from sslight.eval.base import Result, Subject


class Linear:
    """Linear classification of frozen features (the standard protocol of the field).

    Every learning rate is paired with every weight decay, and all heads are trained at once on a
    part of the train split, from standardised features. The pair that does best on the held-out
    part is trained again on the whole split and measured on the test split, once. Labels ``[N, K]``
    in {1, 0, -1 ignored} are multi-label: binary cross-entropy and mean average precision. Rows
    without a label and unreadable images take no part.

    Args:
        lr: Learning rates.
        weight_decay: Weight decays.
        epochs: Passes over the features.
        batch_size: Features per step.
        held_out: Share of the train split on which the pair is chosen.
        train: Split to train on.
        test: Split to measure on.
        layers: Stored layers to evaluate; all of them by default.
        seed: Of the held-out part and the order.
    """

    def __init__(
        self,
        *,
        lr: list[float] = (0.3, 1.0, 3.0, 10.0, 30.0),  # type: ignore[assignment]
        weight_decay: list[float] = (0.0, 1e-5, 1e-4, 1e-3),  # type: ignore[assignment]
        epochs: int = 100,
        batch_size: int = 256,
        held_out: float = 0.1,
        train: str = "train",
        test: str = "test",
        layers: list[str] | None = None,
        seed: int = 0,
    ):
        self.grid = list(itertools.product(lr, weight_decay))
        self.epochs, self.batch_size, self.held_out = epochs, batch_size, held_out
        self.train, self.test, self.layers, self.seed = train, test, layers, seed
        if not self.grid or min(lr) <= 0 or min(weight_decay) < 0:
            raise ValueError(
                f"linear: lr is {list(lr)} and weight_decay {list(weight_decay)}; give one or more "
                "learning rates above 0 and weight decays from 0."
            )
        if epochs < 1 or batch_size < 1 or not 0 < held_out < 1:
            raise ValueError(
                f"linear: got epochs={epochs}, batch_size={batch_size}, held_out={held_out}; the "
                "first two count from 1, held_out lies between 0 and 1."
            )

    def evaluate(self, subject: Subject) -> Result:
        """Top-1 and top-5 accuracy, or mean average precision, of each layer."""
        start = time.perf_counter()
        layers = self.layers or subject.layers
        rows = [self._layer(subject, layer) for layer in layers]
        named = [(f"{row['layer']}/" if len(layers) > 1 else "", row) for row in rows]
        figures = ("top1", "top5", "map")
        return Result(
            "linear",
            metrics={f"{at}{name}": row[name] for at, row in named for name in figures
                     if name in row},
            options={"grid": self.grid, "epochs": self.epochs, "batch_size": self.batch_size,
                     "held_out": self.held_out, "train": self.train, "test": self.test,
                     "layers": layers, "seed": self.seed},
            n=len(_known(subject, self.test)[0]),
            seconds=time.perf_counter() - start,
            rows=rows,
            intervals={f"{at}top1": (row["low"], row["high"]) for at, row in named
                       if "low" in row},
        )  # fmt: skip

    def _layer(self, subject: Subject, layer: str) -> dict[str, Any]:
        rows, targets = _known(subject, self.train)
        features = vectors(subject.features(self.train, layer))
        lr, decay = self._chosen(features, targets, rows, subject.device)
        heads = self._fitted(features, targets, rows, [(lr, decay)], subject.device)
        test_rows, test_targets = _known(subject, self.test)
        tested = vectors(subject.features(self.test, layer))
        logits = logits_of(heads, tested, test_rows)[:, 0]
        figures = _figures(logits, test_targets[test_rows])
        return {"layer": layer, "lr": lr, "weight_decay": decay, **figures}

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
        heads = self._fitted(features, targets, trained, self.grid, device)
        logits = logits_of(heads, features, held)
        scores = [_score(logits[:, g], targets[held]) for g in range(len(self.grid))]
        return self.grid[max(range(len(scores)), key=scores.__getitem__)]

    def _fitted(
        self, features: Any, targets: Tensor, rows: np.ndarray, grid: Any, device: Any
    ) -> Heads:
        lr, decay = torch.tensor(grid, dtype=torch.float64).unbind(1)
        settings = Settings(lr, decay, self.epochs, self.batch_size, self.seed)
        return fit_heads(features, targets, rows, settings, device)


def _known(subject: Subject, split: str) -> tuple[np.ndarray, Tensor]:
    """Rows with a label whose image could be read, and the labels of all rows."""
    labels = torch.from_numpy(np.asarray(subject.labels(split)).astype(np.int64))
    known = (labels >= 0) if labels.ndim == 1 else (labels >= 0).any(dim=1)
    rows = np.flatnonzero(known.numpy() & np.asarray(subject.split(split).ok, dtype=bool))
    if not len(rows):
        raise RefusedRunError(f"linear: no image of the split {split!r} has a label.")
    return rows, labels


def _score(logits: Tensor, targets: Tensor) -> tuple[float, float]:
    """What a head is chosen by: its accuracy, then its loss; a diverged head comes last."""
    if not bool(logits.isfinite().all()):
        return -1.0, -math.inf
    if targets.ndim == 2:
        return _figures(logits, targets)["map"], 0.0
    loss = torch.nn.functional.cross_entropy(_widened(logits, targets), targets)
    return _figures(logits, targets)["top1"], -float(loss)


def _figures(logits: Tensor, targets: Tensor) -> dict[str, float]:
    if targets.ndim == 2:
        outputs = logits.shape[1]
        return {"map": float(multilabel_average_precision(
            logits.sigmoid(), targets, num_labels=outputs, ignore_index=-1
        ))}  # fmt: skip
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices == targets[:, None]
    top1, top5 = (float(best[:, :k].any(dim=1).double().mean()) for k in (1, 5))
    low, high = interval(top1, len(targets))
    return {"top1": top1, "top5": top5, "low": low, "high": high}


def _widened(logits: Tensor, targets: Tensor) -> Tensor:
    """Give classes that only the held-out part has an output that is never chosen."""
    missing = max(0, int(targets.max()) + 1 - logits.shape[1])
    return torch.nn.functional.pad(logits, (0, missing), value=-1e9)
