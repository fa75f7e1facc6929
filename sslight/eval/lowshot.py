"""Classification from a few labelled images per class."""

from __future__ import annotations

import logging
import time
from typing import Any, Literal

from torch import Tensor

from sslight.errors import RefusedRunError
from sslight.eval._few import Classifier, Prepared, trained
from sslight.eval._heads import moments
from sslight.eval._names import named
from sslight.eval._ranks import over_ranks
from sslight.eval._rows import labelled_rows, need, vectors
from sslight.eval._scores import accuracies, mean_average_precision
from sslight.eval._shots import Pool
from sslight.eval._statistics import mean_interval
from sslight.eval.base import Result, Subject

logger = logging.getLogger("sslight")

#: Layer to the mean and scale that standardise it.
Scaling = dict[str, tuple[Tensor, Tensor]]


class LowShot:
    """Linear classifiers trained on k images per class, over several draws (VOC07, Places205).

    The protocol of VISSL's low-shot SVM (Goyal et al., 2019, arXiv:1905.01235): for each class a
    LinearSVC (squared hinge, positives weigh twice) of unit-length features, against the k images
    of each other class; where images have several labels, against ``negatives`` k images without
    the class. ``logistic`` is L2-regularised logistic regression of standardised features. ``map``
    is mean average precision over classes, ``top1`` accuracy (one label per image). A draw's cost C
    is chosen on train images that are held out from all draws; VISSL reads it off the test images.
    Figures are means over draws, with 95 % intervals, smallest and largest. Draws are shared out to
    the ranks. Needs ``pip install 'sslight[eval]'``.

    Args:
        k: Numbers of images per class; those that a class does not have are left out.
        draws: Sets of images for each k.
        classifiers: ``svm``, ``logistic``, or both.
        cost: Candidates for scikit-learn's C.
        negatives: Images without the class per image with it, for several labels per image.
        held_out: Share of the train split on which the cost is chosen, 5000 images at most.
        train: Split to draw from.
        test: Split to measure on.
        layers: Stored layers to evaluate; all of them by default.
        seed: Of the draws.
    """

    def __init__(
        self,
        *,
        k: list[int] = (1, 2, 4, 8, 16),  # type: ignore[assignment]
        draws: int = 5,
        classifiers: list[Literal["svm", "logistic"]] = ("svm", "logistic"),  # type: ignore[assignment]
        cost: list[float] = (0.01, 0.1, 1.0, 10.0, 100.0),  # type: ignore[assignment]
        negatives: int = 19,
        held_out: float = 0.1,
        train: str = "train",
        test: str = "test",
        layers: list[str] | None = None,
        seed: int = 0,
    ):
        self.k, self.draws, self.classifiers = sorted(k), draws, list(classifiers)
        self.cost, self.negatives, self.held_out = list(cost), negatives, held_out
        self.train, self.test, self.layers, self.seed = train, test, layers, seed
        if not self.k or self.k[0] < 1 or draws < 1 or negatives < 1 or not 0 < held_out < 1:
            raise ValueError(
                f"lowshot: got k={self.k}, draws={draws}, negatives={negatives}, "
                f"held_out={held_out}; the first three count from 1, held_out lies between 0 and 1."
            )
        if not self.cost or min(self.cost) <= 0 or not self.classifiers:
            raise ValueError(
                f"lowshot: got cost={self.cost} and classifiers={self.classifiers}; give one or "
                "more costs above 0, and svm, logistic or both."
            )

    def evaluate(self, subject: Subject) -> Result:
        """``map`` and ``top1`` of each layer, classifier and k."""
        need("sklearn.svm", "lowshot")
        rows, targets = labelled_rows(subject, self.train, "lowshot")
        tested, _ = labelled_rows(subject, self.test, "lowshot")
        pool = Pool.of(rows, targets, self.held_out, self.seed)
        counts = self._counts(subject, pool)
        layers = self.layers or subject.layers
        start = time.perf_counter()
        settings = [(a, c, k) for a in layers for c in self.classifiers for k in counts]
        tasks = [(*setting, draw) for setting in settings for draw in range(self.draws)]
        scaling = self._scaling(subject, pool, layers)
        found = over_ranks(tasks, lambda task: self._figures(subject, pool, scaling, *task))
        table = [
            row
            for i, setting in enumerate(settings)
            for row in self._rows(*setting, found[i * self.draws : (i + 1) * self.draws])
        ]
        return Result(
            "lowshot",
            metrics=named(table, "layer", "classifier", "k", "figure",
                          always=("classifier", "k", "figure")),
            options={"k": counts, "draws": self.draws, "classifiers": self.classifiers,
                     "cost": self.cost, "negatives": self.negatives, "held_out": self.held_out,
                     "train": self.train, "test": self.test, "layers": layers, "seed": self.seed},
            n=len(tested),
            seconds=time.perf_counter() - start,
            rows=table,
        )  # fmt: skip

    def _counts(self, subject: Subject, pool: Pool) -> list[int]:
        """Those k that every class has."""
        if len(pool.classes) < 2:
            raise RefusedRunError(f"lowshot: the split {self.train!r} has fewer than two classes.")
        number, most = pool.smallest()
        counts = [k for k in self.k if k <= most]
        if counts != self.k:
            names = subject.classes(self.train)
            name = names[number] if names else number
            logger.warning("lowshot: class %s has %d images to draw; k is %s.", name, most, counts)
        if not counts:
            raise RefusedRunError(f"lowshot: give a k of {most} or less; got {self.k}.")
        return counts

    def _scaling(self, subject: Subject, pool: Pool, layers: list[str]) -> Scaling:
        """What standardises each layer; labels are not used."""
        if "logistic" not in self.classifiers:
            return {}
        return {
            layer: moments(vectors(subject.features(self.train, layer)), pool.rows)
            for layer in layers
        }

    def _figures(
        self,
        subject: Subject,
        pool: Pool,
        scaling: Scaling,
        layer: str,
        classifier: Classifier,
        k: int,
        draw: int,
    ) -> dict[str, float]:
        """The test figures of one draw, at the cost that does best on the held-out rows."""

        def prepared(split: str) -> Prepared:
            given = scaling[layer] if classifier == "logistic" else ()
            return Prepared(vectors(subject.features(split, layer)), *given)

        shots = pool.draw(k, self.seed + draw, self.negatives)
        outputs = pool.targets.shape[1] if pool.targets.ndim == 2 else int(pool.targets.max()) + 1
        trains = prepared(self.train)
        candidates = [
            trained(trains, shots, outputs, classifier, cost, self.seed) for cost in self.cost
        ]
        best = candidates[0]
        if len(candidates) > 1:
            truth = pool.targets[pool.held]
            held = [_measured(trains.scores(pool.held, *fit), truth) for fit in candidates]
            main = "map" if truth.ndim == 2 else "top1"
            best = candidates[max(range(len(held)), key=lambda i: held[i][main])]
        rows, targets = labelled_rows(subject, self.test, "lowshot")
        return _measured(prepared(self.test).scores(rows, *best), targets[rows])

    def _rows(
        self, layer: str, classifier: str, k: int, found: list[dict[str, float]]
    ) -> list[dict[str, Any]]:
        """One row per figure, over the draws."""
        rows = []
        for name in found[0]:
            values = [figures[name] for figures in found]
            mean, low, high = mean_interval(values)
            rows.append({
                "layer": layer, "classifier": classifier, "k": k, "figure": name, "mean": mean,
                "low": low, "high": high, "min": min(values), "max": max(values),
            })  # fmt: skip
        return rows


def _measured(scores: Tensor, targets: Tensor) -> dict[str, float]:
    found = {"map": mean_average_precision(scores, targets)}
    if targets.ndim == 1:
        found["top1"] = accuracies([(scores, targets)])["top1"]
    return found
