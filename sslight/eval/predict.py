"""A class and a confidence for every image, from a linear classifier of stored features."""

from __future__ import annotations

import time
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from sslight.eval._heads import Heads
from sslight.eval._images import Columns, ImageTable, check_format, class_name
from sslight.eval._names import named
from sslight.eval._probe import Probe, figures, logits
from sslight.eval._rows import labelled_rows, readable_rows, vectors
from sslight.eval.base import Result, Subject


class Predict:
    """Classify every image by a linear classifier, and write a table keyed by image path.

    The classifier is that of ``linear``, trained on the labels of one split. Each image gets its
    ``top`` classes, best first, in ``class_1``, ``class_2``, ..., and their probabilities in
    ``confidence_1``, ...: a softmax for one label per image, a sigmoid per class for several. The
    table lies beside the JSON file, ``eval/predict.csv``. Where an image's label is known, accuracy
    and calibration error (15 bins; for one label per image) are figures too, of each split.

    Args:
        train: Split with labels to learn from.
        splits: Splits to classify; all but ``train`` by default.
        layer: Stored layer; the first by default.
        top: Classes per image.
        format: Of the table; ``parquet`` needs pyarrow.
        probe: How the classifier is trained.
    """

    def __init__(
        self,
        *,
        train: str = "train",
        splits: list[str] | None = None,
        layer: str | None = None,
        top: int = 1,
        format: Literal["csv", "parquet"] = "csv",
        probe: Probe | None = None,
    ):
        self.train, self.splits, self.layer = train, splits, layer
        self.top, self.format, self.probe = top, format, probe or Probe()
        if top < 1:
            raise ValueError(f"predict: top is {top}; give the number of classes from 1.")

    def evaluate(self, subject: Subject) -> Result:
        """Accuracy and mean confidence of each split; ``images`` is the table."""
        check_format(self.format, "predict")
        splits = self.splits or [n for n in subject.split_names if n != self.train]
        start = time.perf_counter()
        rows, targets = labelled_rows(subject, self.train, "predict")
        features = vectors(subject.features(self.train, self.layer))
        heads = self.probe.fit(features, targets, rows, subject.device).heads
        several = targets.ndim == 2
        found = [self._split(subject, heads, split, several) for split in splits]

        def columns(split: str, rows: np.ndarray) -> Columns:
            return self._columns(subject, heads, split, rows, several)

        return Result(
            "predict",
            metrics=named(found, "split", always=("split",)),
            options={"train": self.train, "splits": splits, "layer": self.layer, "top": self.top,
                     "format": self.format},
            n=sum(row["images"] for row in found),
            seconds=time.perf_counter() - start,
            rows=found,
            images=ImageTable(subject, splits, columns, self.format),
        )  # fmt: skip

    def _split(self, subject: Subject, heads: Heads, split: str, several: bool) -> dict[str, Any]:
        rows = readable_rows(subject, split, "predict")
        features = vectors(subject.features(split, self.layer))
        total = torch.zeros((), dtype=torch.float64)
        for _, values in logits(heads, features, rows):
            total += _confidences(values[:, 0], several).amax(dim=1).double().sum()
        row = {"split": split, "images": len(rows), "confidence": float(total) / len(rows)}
        return {**row, **_measured(subject, heads, features, split)}

    def _columns(
        self, subject: Subject, heads: Heads, split: str, rows: np.ndarray, several: bool
    ) -> Columns:
        classes = subject.classes(self.train)
        features = vectors(subject.features(split, self.layer))
        top = min(self.top, heads.bias.shape[1])
        sure, which = np.zeros((len(rows), top), np.float32), np.zeros((len(rows), top), np.int64)
        done = 0
        for block, values in logits(heads, features, rows):
            best = _confidences(values[:, 0], several).topk(top, dim=1)
            part = slice(done, done + len(block))
            sure[part], which[part] = best.values.numpy(), best.indices.numpy()
            done += len(block)
        columns: dict[str, Any] = {}
        for i in range(top):
            columns[f"class_{i + 1}"] = [class_name(classes, int(k)) for k in which[:, i]]
            columns[f"confidence_{i + 1}"] = sure[:, i]
        return columns


def _confidences(values: Tensor, several: bool) -> Tensor:
    return values.sigmoid() if several else values.softmax(dim=1)


def _measured(subject: Subject, heads: Heads, features: Any, split: str) -> dict[str, float]:
    """Figures against the labels of a split; none where it has no labels."""
    if subject.split(split).labels is None:
        return {}
    rows, targets = labelled_rows(subject, split, "predict")
    measured = figures(heads, features, targets, rows)
    if targets.ndim == 2:
        return measured
    found = [(values[:, 0].softmax(1), targets[b]) for b, values in logits(heads, features, rows)]
    scores, truth = (torch.cat(column) for column in zip(*found, strict=True))
    outputs = scores.shape[1]
    inside = truth < outputs
    error = multiclass_calibration_error(scores[inside], truth[inside], outputs, n_bins=15)
    return {**measured, "calibration_error": float(error)}
