from __future__ import annotations

import pytest
import torch

from sslight.modules.kmeans import kmeans, nearest


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def blobs(each: int = 20) -> torch.Tensor:
    """Three clouds of points, far from each other, one after the other."""
    centres = torch.tensor([[10.0, 0.0], [0.0, 10.0], [-10.0, -10.0]])
    return centres.repeat_interleave(each, 0) + torch.randn(3 * each, 2, generator=seeded())


@pytest.mark.parametrize("spherical", [False, True])
def test_clouds_are_found(spherical):
    rows = blobs()
    found = [
        kmeans(rows, 3, 20, spherical=spherical, generator=torch.Generator().manual_seed(seed))
        for seed in range(5)
    ]
    ids = [nearest(rows, centroids, spherical=spherical).view(3, 20) for centroids in found]
    assert any(
        len({row[0].item() for row in each}) == 3 and bool((each == each[:, :1]).all())
        for each in ids
    )


def test_spherical_centroids_have_length_one():
    centroids = kmeans(blobs(), 4, 0, spherical=True, generator=seeded())
    torch.testing.assert_close(centroids.norm(dim=1), torch.ones(4))


def test_without_iterations_centroids_are_different_rows():
    rows = blobs()
    centroids = kmeans(rows, 60, 0, generator=seeded())
    assert torch.equal(centroids.sort(0).values, rows.sort(0).values)


def test_blocks_do_not_matter(monkeypatch):
    rows = blobs()
    whole = kmeans(rows, 5, generator=seeded())
    monkeypatch.setattr("sslight.modules.kmeans._BLOCK", 5 * 7)
    torch.testing.assert_close(kmeans(rows, 5, generator=seeded()), whole)
    assert torch.equal(nearest(rows, whole), nearest(rows.double(), whole.double()))


def test_low_precision_and_autocast_compute_in_float32():
    rows = blobs().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        centroids = kmeans(rows, 5, generator=seeded())
    assert centroids.dtype == torch.float32
    assert torch.equal(centroids, kmeans(rows.float(), 5, generator=seeded()))


@pytest.mark.parametrize("k", [0, 4])
def test_wrong_numbers_of_clusters_are_said(k):
    with pytest.raises(ValueError, match=f"{k} clusters of 3 rows.*at most one per row"):
        kmeans(torch.ones(3, 2), k)


def test_rows_must_be_a_matrix():
    with pytest.raises(ValueError, match=r"rows must be \[N, D\], got \(3,\)"):
        kmeans(torch.ones(3), 1)
