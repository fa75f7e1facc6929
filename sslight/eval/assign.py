"""The cluster, or the method's own prototype, of every image."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sslight.errors import RefusedRunError
from sslight.eval._clusters import centroids_of, similarities
from sslight.eval._images import Columns, ImageTable, check_format
from sslight.eval._rows import BLOCK, blocks, readable_rows, vectors
from sslight.eval.base import Result, Subject

#: Gives blocks of scores ``[b, K]`` of a split's rows, on the CPU.
Scores = Callable[[str, np.ndarray], Iterator[Tensor]]


class Assign:
    """Assign every image to a cluster, hard or softly, and write a table keyed by image path.

    ``kmeans`` finds clusters of one split's unit-length features (as ``cluster`` does) and assigns
    by cosine; ``prototypes`` takes those that a run's method was trained with (SwAV, MSN, DINO,
    iBOT, DINOv2, DeepCluster-v2) and the scores that it gives its embeddings. Hard: ``cluster_1``
    is the best and ``score_1`` its score. Soft: the best ``top`` clusters and their shares, a
    softmax of all scores over ``temperature``. The table lies beside the JSON file,
    ``eval/assign.csv``. Figures say how evenly clusters are used: ``used`` of them, the ``largest``
    one's share of images, and ``perplexity``, the exponential of the entropy of the shares (K if
    all are equal).

    Args:
        by: ``kmeans`` or ``prototypes``.
        num_clusters: K of k-means; the number of classes by default.
        run: Folder of the run whose prototypes are used; the one that the store lies in by default.
        soft: Give shares of several clusters.
        top: Clusters per image if ``soft``.
        temperature: Of the shares.
        iterations: Of k-means.
        most: Images that centroids are found on; of more, a draw.
        train: Split that is clustered.
        splits: Splits whose images are assigned; all of them by default.
        layer: Stored layer; the first by default.
        format: Of the table; ``parquet`` needs pyarrow.
        seed: Of k-means.
    """

    def __init__(
        self,
        *,
        by: Literal["kmeans", "prototypes"] = "kmeans",
        num_clusters: int | None = None,
        run: Path | None = None,
        soft: bool = False,
        top: int = 5,
        temperature: float = 0.1,
        iterations: int = 50,
        most: int = 100_000,
        train: str = "train",
        splits: list[str] | None = None,
        layer: str | None = None,
        format: Literal["csv", "parquet"] = "csv",
        seed: int = 0,
    ):
        self.by, self.num_clusters, self.run = by, num_clusters, run
        self.soft, self.top, self.temperature = soft, top if soft else 1, temperature
        self.iterations, self.most, self.train, self.splits = iterations, most, train, splits
        self.layer, self.format, self.seed = layer, format, seed
        if (num_clusters or 1) < 1 or top < 1 or temperature <= 0 or iterations < 1 or most < 1:
            raise ValueError(
                f"assign: got num_clusters={num_clusters}, top={top}, temperature={temperature}, "
                f"iterations={iterations}, most={most}; temperature is above 0, the others count "
                "from 1."
            )

    def evaluate(self, subject: Subject) -> Result:
        """How evenly clusters are used, per split; ``images`` is the table."""
        check_format(self.format, "assign")
        splits = self.splits or subject.split_names
        start = time.perf_counter()
        scores = self._kmeans(subject) if self.by == "kmeans" else self._prototypes(subject)
        found = [self._used(subject, scores, split) for split in splits]

        def columns(split: str, rows: np.ndarray) -> Columns:
            return self._columns(scores, split, rows)

        return Result(
            "assign",
            metrics={f"{row['split']}/{name}": float(row[name]) for row in found
                     for name in ("used", "largest", "perplexity")},
            options={"by": self.by, "num_clusters": found[0]["clusters"], "soft": self.soft,
                     "top": self.top, "temperature": self.temperature, "train": self.train,
                     "splits": splits, "layer": self.layer, "format": self.format,
                     "seed": self.seed},
            n=sum(row["images"] for row in found),
            seconds=time.perf_counter() - start,
            rows=found,
            images=ImageTable(subject, splits, columns, self.format),
        )  # fmt: skip

    def _kmeans(self, subject: Subject) -> Scores:
        features = vectors(subject.features(self.train, self.layer))
        rows = readable_rows(subject, self.train, "assign")
        k = self.num_clusters or len(subject.classes(self.train) or [])
        if not 1 <= k <= min(len(rows), self.most):
            raise RefusedRunError(
                f"assign: {k} clusters of {len(rows)} images. Set eval.assign.num_clusters to a "
                "number from 1 to that of the images."
            )
        centroids = centroids_of(
            features, rows, k, iterations=self.iterations, most=self.most, seed=self.seed,
            device=subject.device,
        )  # fmt: skip
        return lambda split, rows: similarities(
            vectors(subject.features(split, self.layer)), rows, centroids
        )

    def _prototypes(self, subject: Subject) -> Scores:
        from sslight import load_method  # its walk reads the run's config, which no protocol may

        run = self.run or subject.root.parent
        if not (run / "checkpoints").is_dir():
            raise RefusedRunError(
                f"assign: {run} is no run, and prototypes are those of a run's method. Name it: "
                "eval.assign.run=<folder>, or use by: kmeans."
            )
        method: Any = load_method(run).eval().to(subject.device)
        if not hasattr(method, "prototype_head"):
            raise RefusedRunError(
                f"assign: {type(method).__name__} has no prototypes. Use by: kmeans."
            )

        def scores(split: str, rows: np.ndarray) -> Iterator[Tensor]:
            features, head = vectors(subject.features(split, self.layer)), method.prototype_head
            with torch.inference_mode():
                for block in blocks(features, rows, min(BLOCK, 1024)):
                    yield head(block.to(subject.device)).float().cpu()

        return scores

    def _used(self, subject: Subject, scores: Scores, split: str) -> dict[str, Any]:
        rows = readable_rows(subject, split, "assign")
        counts: Tensor | None = None
        for block in scores(split, rows):
            counted = torch.bincount(block.argmax(dim=1), minlength=block.shape[1])
            counts = counted if counts is None else counts + counted
        shares = counts.double() / len(rows) if counts is not None else torch.zeros(1)
        entropy = -torch.special.xlogy(shares, shares).sum()
        return {
            "split": split, "images": len(rows), "clusters": len(shares),
            "used": int((shares > 0).sum()), "largest": float(shares.max()),
            "perplexity": math.exp(float(entropy)),
        }  # fmt: skip

    def _columns(self, scores: Scores, split: str, rows: np.ndarray) -> Columns:
        """``cluster_<i>`` and ``score_<i>`` (hard) or ``share_<i>`` (soft) of some rows."""
        found = []
        for block in scores(split, rows):
            values = (block / self.temperature).softmax(dim=1) if self.soft else block
            found.append(values.topk(min(self.top, values.shape[1]), dim=1))
        if not found:
            return {}
        sizes = torch.cat([best.values for best in found]).numpy()
        numbers = torch.cat([best.indices for best in found]).numpy()
        columns: dict[str, Any] = {}
        for i in range(sizes.shape[1]):
            columns[f"cluster_{i + 1}"] = numbers[:, i]
            columns[f"{'share' if self.soft else 'score'}_{i + 1}"] = sizes[:, i]
        return columns
