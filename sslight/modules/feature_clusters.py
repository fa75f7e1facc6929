"""Clusters of features by their direction, without a second copy of the features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sslight.modules.kmeans import kmeans, nearest
from sslight.modules.pca import principal_components

#: Rows that are normalised at one time.
_ROWS = 2**14


def feature_clusters(
    features: Tensor,
    num_clusters: int,
    iterations: int,
    *,
    pca_dim: int | None = None,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Assign each row to a cluster that k-means finds among all rows, scaled to length 1.

    Args:
        features: ``[N, D]``, the same on every rank; they are lost.
        num_clusters: K, at most one per row without NaN.
        iterations: How often centroids move.
        pca_dim: Principal components that are clustered; None for all of them.
        generator: Chooses the first centroids; on the CPU and equal on every rank.
        device: Where to compute; by default where the features are. Rows travel in blocks.

    Returns:
        Cluster ids ``[N]``, int64, where it was computed; -1 for a row with NaN.
    """
    rows, readable = unit_rows(features)
    if pca_dim is not None:
        rows = principal_components(rows, pca_dim, device=device)
    centroids = kmeans(rows, num_clusters, iterations, generator=generator, device=device)
    ids = torch.full((len(features),), -1, device=centroids.device)
    ids[readable.to(ids.device)] = nearest(rows, centroids)
    return ids


def unit_rows(features: Tensor) -> tuple[Tensor, Tensor]:
    """Give rows without NaN length 1, in place: beside all features there is no room for copies.

    Args:
        features: ``[N, D]``.

    Returns:
        Those rows, together at the beginning of the features' memory, and which ones they are.
    """
    readable, kept = [], 0
    for block in torch.split(features, _ROWS):
        readable.append(block.isfinite().all(dim=1))
        rows = F.normalize(block[readable[-1]], dim=1, eps=1e-5)
        features[kept : kept + len(rows)] = rows
        kept += len(rows)
    return features[:kept], torch.cat(readable)
