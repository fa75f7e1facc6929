"""K-means against loops, against scikit-learn, and over ranks: equal bits on all of them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from ranks import run_ranks

from sslight import distributed as d
from sslight.modules.kmeans import kmeans, nearest


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_rows(count: int = 41, dim: int = 5) -> torch.Tensor:
    rows = torch.randn(count, dim, generator=seeded(), dtype=torch.float64)
    return rows / rows.norm(dim=1, keepdim=True)


def oracle(
    rows: torch.Tensor, centroids: list[torch.Tensor], iterations: int, spherical: bool
) -> tuple[list[torch.Tensor], list[int]]:
    """Lloyd's algorithm, a row and a centroid at a time."""

    def assign() -> list[int]:
        if spherical:
            return [max(range(len(centroids)), key=lambda k: row @ centroids[k]) for row in rows]
        return [
            min(range(len(centroids)), key=lambda k: (row - centroids[k]).square().sum())
            for row in rows
        ]

    for _ in range(iterations):
        ids = assign()
        for k in range(len(centroids)):
            members = [row for row, i in zip(rows, ids, strict=True) if i == k]
            if members:
                mean = sum(members) / len(members)
                centroids[k] = mean / mean.norm() if spherical else mean
    return centroids, assign()


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("iterations", [0, 1, 10])
def test_centroids_and_assignments_are_those_of_the_loops(spherical, iterations):
    rows = random_rows()
    centroids = kmeans(rows, 6, iterations, spherical=spherical, generator=seeded())
    first = list(kmeans(rows, 6, 0, spherical=spherical, generator=seeded()))
    expected, ids = oracle(rows, first, iterations, spherical)
    torch.testing.assert_close(centroids, torch.stack(expected), rtol=1e-10, atol=1e-12)
    assert nearest(rows, centroids, spherical=spherical).tolist() == ids


@pytest.mark.parametrize("spherical", [False, True])
def test_a_centroid_without_rows_stays(spherical):
    """Rows on two points: of the centroids that start on one point only one is ever nearest."""
    rows = torch.eye(2, dtype=torch.float64).repeat_interleave(torch.tensor([8, 2]), 0)
    first = kmeans(rows, 5, 0, spherical=spherical, generator=seeded())
    centroids = kmeans(rows, 5, 4, spherical=spherical, generator=seeded())
    assert torch.equal(centroids, first)
    assert len(nearest(rows, centroids, spherical=spherical).unique()) <= 2


@pytest.fixture(scope="module")  # imported before a test's environment is looked at
def sklearn() -> Any:
    return pytest.importorskip("sklearn.cluster")


def test_agrees_with_scikit_learn(sklearn):
    rows = random_rows(200, 4)
    first = kmeans(rows, 5, 0, generator=seeded())
    theirs = sklearn.KMeans(5, init=first.numpy(), n_init=1, max_iter=300, tol=0).fit(rows.numpy())
    centroids = kmeans(rows, 5, 300, generator=seeded())
    torch.testing.assert_close(centroids, torch.from_numpy(theirs.cluster_centers_))
    assert nearest(rows, centroids).tolist() == theirs.labels_.tolist()


def test_each_iteration_lowers_the_distance():
    rows = random_rows(200, 4)
    costs = []
    for iterations in range(6):
        centroids = kmeans(rows, 7, iterations, generator=seeded())
        costs.append((rows - centroids[nearest(rows, centroids)]).square().sum().item())
    assert all(later <= earlier for earlier, later in pairwise(costs))


def both() -> list[torch.Tensor]:
    """The whole of it, in float64 and float32, and of fewer rows than ranks times two."""
    results = []
    for rows in (random_rows(), random_rows().float(), random_rows(5)):
        for spherical in (False, True):
            centroids = kmeans(rows, 4, spherical=spherical, generator=seeded())
            results += [centroids, nearest(rows, centroids, spherical=spherical)]
    return results


def on_rank() -> list[torch.Tensor]:
    assert d.world_size() > 1
    return both()


@pytest.mark.ranks
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_are_one_process_and_equal_to_the_last_bit(ranks):
    whole, results = both(), run_ranks(ranks, on_rank)
    for result in results:
        for mine, first, alone in zip(result, results[0], whole, strict=True):
            assert torch.equal(mine, first)
            tolerance = 1e-8 if alone.dtype == torch.float64 else 1e-5
            torch.testing.assert_close(mine, alone, rtol=tolerance, atol=tolerance)
