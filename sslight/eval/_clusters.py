"""Centroids of stored features, and the nearest of them to every row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sslight.eval._rows import BLOCK, blocks
from sslight.modules.kmeans import kmeans, nearest


def centroids_of(
    features: Any,
    rows: np.ndarray,
    num_clusters: int,
    *,
    iterations: int,
    most: int,
    seed: int,
    device: torch.device | str,
) -> Tensor:
    """Spherical k-means of unit-length features, the work shared out to the ranks.

    Args:
        features: ``[N, D]``, sliced by sorted rows.
        rows: The rows to cluster.
        num_clusters: K.
        iterations: How often centroids move.
        most: Rows in memory; of more, a draw is clustered.
        seed: Of that draw and of the first centroids.
        device: Where to compute.

    Returns:
        ``[K, D]``, unit length, equal on every rank.
    """
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    sample = torch.cat(list(blocks(features, rows)))
    return kmeans(
        normalize(sample, dim=1),
        num_clusters,
        iterations,
        spherical=True,
        generator=torch.Generator().manual_seed(seed),
        device=device,
    )


def clusters_of(features: Any, rows: np.ndarray, centroids: Tensor) -> Tensor:
    """Number of the nearest centroid by cosine of each row ``[n]``, on the CPU, on every rank."""
    found = [nearest(normalize(block, dim=1), centroids, spherical=True).cpu()
             for block in blocks(features, rows)]  # fmt: skip
    return torch.cat(found)


def similarities(features: Any, rows: np.ndarray, centroids: Tensor) -> Iterator[Tensor]:
    """Blocks of cosines ``[b, K]`` of rows with unit-length centroids, on the CPU."""
    step = max(1, min(BLOCK, 2**26 // len(centroids)))
    for block in blocks(features, rows, step):
        yield (normalize(block.to(centroids.device), dim=1) @ centroids.T).cpu()
