"""K-means over rows that every rank holds, each rank working on its share of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sslight.distributed import all_gather, rank, sum_over_ranks, world_size
from sslight.losses.precision import full_precision

#: Numbers in a block of distances: 256 MB in float32, and on a CPU what its cache holds.
_BLOCK, _CPU_BLOCK = 2**26, 2**18


@torch.no_grad()
@full_precision
def kmeans(
    rows: Tensor,
    num_clusters: int,
    iterations: int = 10,
    *,
    spherical: bool = False,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Find centroids by Lloyd's algorithm: assign each row to the nearest, average, repeat.

    Centroids start as random rows. One that no row is nearest to stays where it is. They are equal
    on all ranks, and do not depend on their number except for rounding.

    Args:
        rows: ``[N, D]``, the same on every rank.
        num_clusters: K, at most N.
        iterations: How often centroids move.
        spherical: Nearest is the largest dot product, and centroids have length 1 (for rows of
            length 1); else nearest is the smallest Euclidean distance.
        generator: Chooses the first centroids; on the CPU and equal on every rank.
        device: Where to compute; by default where the rows are. Rows travel in blocks.

    Returns:
        Centroids ``[K, D]``, float32 or better.

    Raises:
        ValueError: If there are more clusters than rows.
    """
    _check(rows, num_clusters, iterations)
    device = rows.device if device is None else device
    first = torch.randperm(len(rows), generator=generator)[:num_clusters]
    centroids = rows[first.to(rows.device)].to(device)
    centroids = F.normalize(centroids, dim=1) if spherical else centroids
    for _ in range(iterations):
        sums, counts = _sums(rows, centroids, spherical)
        means = sums / counts.clamp(min=1)[:, None]
        means = F.normalize(means, dim=1) if spherical else means
        centroids = torch.where(counts[:, None] > 0, means, centroids)
    return centroids


@torch.no_grad()
@full_precision
def nearest(rows: Tensor, centroids: Tensor, *, spherical: bool = False) -> Tensor:
    """Assign each row to its nearest centroid, as in :func:`kmeans`.

    Args:
        rows: ``[N, D]``, the same on every rank.
        centroids: ``[K, D]``, on the device to compute on.
        spherical: As in :func:`kmeans`.

    Returns:
        Cluster ids ``[N]``, int64, on the device of the centroids, the same on every rank.
    """
    share = -(-len(rows) // world_size())  # rows of the fullest rank; the others pad
    mine = torch.zeros(share, dtype=torch.int64, device=centroids.device)
    nearest_of = _Nearest(centroids, spherical)
    for start, block in _blocks(rows, centroids):
        mine[start : start + len(block)] = nearest_of(block)
    return all_gather(mine)[: len(rows)]


def _sums(rows: Tensor, centroids: Tensor, spherical: bool) -> tuple[Tensor, Tensor]:
    """Sum and count each centroid's rows, over all ranks: ``[K, D]`` and ``[K]``.

    On a GPU by products with one-hot matrices: adding at indices has no fixed order there.
    """
    sums, counts = torch.zeros_like(centroids), torch.zeros_like(centroids[:, 0])
    clusters = torch.arange(len(centroids), device=centroids.device)
    nearest_of = _Nearest(centroids, spherical)
    for _, block in _blocks(rows, centroids):
        ids = nearest_of(block)
        if block.device.type == "cpu":
            sums.index_add_(0, ids, block)
            counts += torch.bincount(ids, minlength=len(centroids))
        else:
            members = (ids[:, None] == clusters).to(block.dtype)  # [b, K]
            sums += members.T @ block
            counts += members.sum(dim=0)
    return sum_over_ranks(sums), sum_over_ranks(counts)


class _Nearest:
    """Finds the nearest centroid of each row of a block, block after block in the same memory."""

    def __init__(self, centroids: Tensor, spherical: bool) -> None:
        self.columns = centroids.T
        # |row - c|^2 = |row|^2 - 2 (row . c - |c|^2 / 2)
        self.offset = None if spherical else centroids.square().sum(dim=1) / 2
        self.scratch = centroids.new_empty(0)

    def __call__(self, block: Tensor) -> Tensor:
        if len(self.scratch) < len(block):
            self.scratch = block.new_empty(len(block), self.columns.shape[1])
        closeness = torch.mm(block, self.columns, out=self.scratch[: len(block)])
        if self.offset is not None:
            closeness -= self.offset
        if closeness.is_cpu:  # where nothing waits, and numpy has five times torch's speed
            return torch.from_numpy(np.asarray(closeness).argmax(axis=1))
        return closeness.argmax(dim=1)


def _blocks(rows: Tensor, centroids: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield this rank's share of the rows, neighbours of each other, in blocks of bounded size."""
    share = -(-len(rows) // world_size())
    mine = rows[rank() * share : (rank() + 1) * share]
    step = max((_CPU_BLOCK if centroids.is_cpu else _BLOCK) // len(centroids), 1)
    for start in range(0, len(mine), step):
        yield start, mine[start : start + step].to(centroids.device)


def _check(rows: Tensor, num_clusters: int, iterations: int) -> None:
    if rows.ndim != 2:
        raise ValueError(f"kmeans: rows must be [N, D], got {tuple(rows.shape)}.")
    if not 1 <= num_clusters <= len(rows) or iterations < 0:
        raise ValueError(
            f"kmeans: {num_clusters} clusters of {len(rows)} rows in {iterations} iterations; use "
            "1 cluster or more, at most one per row, and 0 iterations or more."
        )
