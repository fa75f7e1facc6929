"""scikit-learn's linear classifiers of few rows, as weights that torch applies to many."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sslight.eval._rows import blocks, need
from sslight.utils import say_once

Classifier = Literal["svm", "logistic"]
#: Class to rows and whether each is a positive.
Shots = Mapping[int, tuple[np.ndarray, np.ndarray]]
#: VISSL's weights of positives and negatives.
_CLASS_WEIGHT = {1: 2, -1: 1}


@dataclass(frozen=True)
class Prepared:
    """Features as a classifier sees them.

    Attributes:
        features: ``[N, D]``, sliced by sorted rows.
        mean: ``[D]``, subtracted; None for rows divided by their length instead.
        scale: ``[D]``, divides.
    """

    features: Any
    mean: Tensor | None = None
    scale: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Prepare rows ``[n, D]``."""
        if self.mean is None or self.scale is None:
            return normalize(x, dim=1, eps=1e-5)
        return (x - self.mean.to(x)) / self.scale.to(x)

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """Some rows in memory."""
        return torch.cat([self(x) for x in blocks(self.features, rows)]).numpy()

    def scores(self, rows: np.ndarray, weight: Tensor, bias: Tensor) -> Tensor:
        """Scores ``[n, K]`` of many rows."""
        return torch.cat([self(x) @ weight.T + bias for x in blocks(self.features, rows)])


def trained(
    prepared: Prepared, shots: Shots, outputs: int, classifier: Classifier, cost: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Train one classifier per class against its negatives.

    Args:
        prepared: The features.
        shots: Rows of each class.
        outputs: K.
        classifier: ``svm`` is LinearSVC (squared hinge, L2, positives weigh twice); ``logistic``
            is L2-regularised logistic regression, of all classes at once where they share rows.
        cost: scikit-learn's C.
        seed: Of the solver.

    Returns:
        Weights ``[K, D]`` and biases ``[K]``; a class without rows is never chosen.
    """
    width = prepared.features.shape[1]
    weight, bias = torch.zeros(outputs, width), torch.full((outputs,), -1e9)
    shared = len({id(rows) for rows, _ in shots.values()}) == 1
    if classifier == "logistic" and shared and len(shots) > 2:
        rows = next(iter(shots.values()))[0]
        truth = np.empty(len(rows), np.int64)
        for c, (_, positive) in shots.items():
            truth[positive] = c
        model = _fitted(_logistic(cost), prepared.rows(rows), truth)
        weight[model.classes_] = torch.from_numpy(model.coef_).float()
        bias[model.classes_] = torch.from_numpy(model.intercept_).float()
        return weight, bias
    x: dict[int, np.ndarray] = {}
    for c, (rows, positive) in shots.items():
        if positive.all():
            continue  # nothing to tell the class from
        if id(rows) not in x:
            x = {id(rows): prepared.rows(rows)}
        model = _svm(cost, seed) if classifier == "svm" else _logistic(cost)
        _fitted(model, x[id(rows)], np.where(positive, 1, -1))
        weight[c], bias[c] = torch.from_numpy(model.coef_[0]).float(), float(model.intercept_[0])
    return weight, bias


def _fitted(model: Any, x: np.ndarray, y: np.ndarray) -> Any:
    """Fit a model; one that has not converged takes part as it is, and that is said once."""
    exceptions = need("sklearn.exceptions", "lowshot")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        model.fit(x, y)
    if np.max(model.n_iter_) >= model.max_iter:
        say_once(
            f"lowshot: {type(model).__name__} had not converged after {model.max_iter} iterations "
            f"at C={model.C:g}; it takes part as it is.",
            logging.INFO,
        )
    return model


def _svm(cost: float, seed: int) -> Any:
    return need("sklearn.svm", "lowshot").LinearSVC(
        C=cost, class_weight=_CLASS_WEIGHT, dual=True, max_iter=2000, random_state=seed
    )


def _logistic(cost: float) -> Any:
    return need("sklearn.linear_model", "lowshot").LogisticRegression(C=cost, max_iter=1000)
