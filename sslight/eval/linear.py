"""The linear probe on stored features: a grid of settings at once, chosen without test images."""

from __future__ import annotations

import time
from typing import Any

from sslight.eval._probe import Probe, figures
from sslight.eval._ranks import over_ranks
from sslight.eval._rows import labelled_rows, vectors
from sslight.eval.base import Result, Subject


class Linear:
    """Linear classification of frozen features (the standard protocol of the field).

    Every learning rate is paired with every weight decay, and all heads are trained at once on a
    part of the train split, from standardised features. The pair that does best on the held-out
    part is trained again on the whole split and measured on the test split, once. Labels ``[N, K]``
    in {1, 0, -1 ignored} are multi-label: binary cross-entropy and mean average precision. Rows
    without a label and unreadable images take no part. Layers are shared out to the ranks.

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
        self.probe = Probe(lr, weight_decay, epochs, batch_size, held_out, seed)
        self.train, self.test, self.layers = train, test, layers

    def evaluate(self, subject: Subject) -> Result:
        """Top-1 and top-5 accuracy, or mean average precision, of each layer."""
        layers = self.layers or subject.layers
        tested, _ = labelled_rows(subject, self.test, "linear")
        start = time.perf_counter()
        rows = over_ranks(layers, lambda layer: self._layer(subject, layer))
        named = [(f"{row['layer']}/" if len(layers) > 1 else "", row) for row in rows]
        kinds = ("top1", "top5", "map")
        probe = self.probe
        return Result(
            "linear",
            metrics={f"{at}{name}": row[name] for at, row in named for name in kinds
                     if name in row},
            options={"grid": probe.grid, "epochs": probe.epochs, "batch_size": probe.batch_size,
                     "held_out": probe.held_out, "train": self.train, "test": self.test,
                     "layers": layers, "seed": probe.seed},
            n=len(tested),
            seconds=time.perf_counter() - start,
            rows=rows,
            intervals={f"{at}top1": (row["low"], row["high"]) for at, row in named
                       if "low" in row},
        )  # fmt: skip

    def _layer(self, subject: Subject, layer: str) -> dict[str, Any]:
        rows, targets = labelled_rows(subject, self.train, "linear")
        features = vectors(subject.features(self.train, layer))
        fit = self.probe.fit(features, targets, rows, subject.device)
        test_rows, test_targets = labelled_rows(subject, self.test, "linear")
        tested = vectors(subject.features(self.test, layer))
        found = figures(fit.heads, tested, test_targets, test_rows)
        return {"layer": layer, "lr": fit.lr, "weight_decay": fit.weight_decay, **found}
