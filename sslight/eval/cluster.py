"""Do clusters of features agree with classes? K-means, compared with the labels."""

from __future__ import annotations

import time
import warnings
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.clustering import adjusted_rand_score, normalized_mutual_info_score

from sslight.errors import RefusedRunError
from sslight.eval._clusters import centroids_of, clusters_of
from sslight.eval._names import named
from sslight.eval._rows import labelled_rows, need, readable_rows, vectors
from sslight.eval._statistics import mean_interval
from sslight.eval.base import Result, Subject


class Cluster:
    """K-means of unit-length features, several times, against the classes of another split.

    Centroids are found on all readable images of one split, labels unseen, and measured on the
    labelled images of the other (which may be the same). ``nmi`` is normalised mutual information
    (arithmetic mean), ``ari`` the adjusted Rand index, ``accuracy`` the share of images whose
    cluster is their class's in the best one-to-one matching (Hungarian; a cluster beyond the number
    of classes matches none). Figures are means over ``draws`` starts of k-means, with 95 %
    intervals. Ranks share each k-means. Needs ``pip install 'sslight[eval]'`` for the matching.

    Args:
        num_clusters: Numbers K; the number of classes by default.
        draws: How often k-means starts.
        iterations: How often centroids move.
        most: Images that centroids are found on; of more, each start draws its own.
        train: Split that is clustered.
        test: Split to measure on.
        layers: Stored layers to evaluate; all of them by default.
        seed: Of the starts.
    """

    def __init__(
        self,
        *,
        num_clusters: list[int] | None = None,
        draws: int = 5,
        iterations: int = 50,
        most: int = 100_000,
        train: str = "train",
        test: str = "test",
        layers: list[str] | None = None,
        seed: int = 0,
    ):
        self.num_clusters, self.draws, self.iterations = num_clusters, draws, iterations
        self.most, self.train, self.test = most, train, test
        self.layers, self.seed = layers, seed
        if draws < 1 or iterations < 1 or most < 1 or min(num_clusters or [1]) < 1:
            raise ValueError(
                f"cluster: got num_clusters={num_clusters}, draws={draws}, "
                f"iterations={iterations}, most={most}; all count from 1."
            )

    def evaluate(self, subject: Subject) -> Result:
        """``nmi``, ``ari`` and ``accuracy`` of each layer and K."""
        need("scipy.optimize", "cluster")
        rows, labels = labelled_rows(subject, self.test, "cluster")
        if labels.ndim != 1:
            raise RefusedRunError(
                f"cluster: images of {self.test!r} have several labels each; it needs one."
            )
        counts = self.num_clusters or [int(labels.max()) + 1]
        layers = self.layers or subject.layers
        start = time.perf_counter()
        found = [
            row
            for layer in layers
            for k in counts
            for row in self._rows(subject, layer, k, labels[rows])
        ]
        return Result(
            "cluster",
            metrics=named(found, "layer", "k", "figure", always=("figure",)),
            options={"num_clusters": counts, "draws": self.draws, "iterations": self.iterations,
                     "most": self.most, "train": self.train, "test": self.test,
                     "layers": layers, "seed": self.seed},
            n=len(rows),
            seconds=time.perf_counter() - start,
            rows=found,
        )  # fmt: skip

    def _rows(self, subject: Subject, layer: str, k: int, classes: Tensor) -> list[dict[str, Any]]:
        """One row per figure, over the starts."""
        trained = readable_rows(subject, self.train, "cluster")
        tested, _ = labelled_rows(subject, self.test, "cluster")
        if k > min(len(trained), self.most):
            raise RefusedRunError(f"cluster: {k} clusters of {len(trained)} images are too many.")
        features = vectors(subject.features(self.train, layer))
        other = vectors(subject.features(self.test, layer))
        draws = []
        for draw in range(self.draws):
            centroids = centroids_of(
                features, trained, k, iterations=self.iterations, most=self.most,
                seed=self.seed + draw, device=subject.device,
            )  # fmt: skip
            draws.append(agreement(clusters_of(other, tested, centroids), classes))
        rows = []
        for name in draws[0]:
            mean, low, high = mean_interval([draw[name] for draw in draws])
            rows.append(
                {"layer": layer, "k": k, "figure": name, "mean": mean, "low": low, "high": high}
            )
        return rows


def agreement(clusters: Tensor, classes: Tensor) -> dict[str, float]:
    """Compare cluster numbers ``[N]`` with classes ``[N]``: ``nmi``, ``ari``, ``accuracy``."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Sparse invariant checks"
        )  # of torchmetrics' use of torch
        nmi = float(normalized_mutual_info_score(clusters, classes))
        ari = float(adjusted_rand_score(clusters, classes))
    return {"nmi": nmi, "ari": ari, "accuracy": matched_accuracy(clusters, classes)}


def matched_accuracy(clusters: Tensor, classes: Tensor) -> float:
    """Accuracy of the best one-to-one matching of clusters and classes.

    torchmetrics' ``cluster_accuracy`` needs as many clusters as classes, and a compiled package.
    """
    width = int(classes.max()) + 1
    counts = torch.bincount(clusters * width + classes, minlength=(int(clusters.max()) + 1) * width)
    table = counts.view(-1, width).numpy()
    matched = need("scipy.optimize", "cluster").linear_sum_assignment(table, maximize=True)
    return float(table[matched].sum() / len(classes))
