from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sslight.modules.feature_clusters import feature_clusters, unit_rows
from sslight.modules.kmeans import kmeans, nearest
from sslight.modules.pca import principal_components


def features() -> torch.Tensor:
    return torch.randn(10, 7, generator=torch.Generator().manual_seed(0))


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(1)


@pytest.mark.parametrize("pca_dim", [None, 2])
def test_directions_are_clustered(pca_dim):
    rows = F.normalize(features(), dim=1)
    rows = rows if pca_dim is None else principal_components(rows, pca_dim)
    expected = nearest(rows, kmeans(rows, 3, 4, generator=seeded()))
    scaled = features() * torch.arange(1.0, 11)[:, None]
    ids = feature_clusters(scaled, 3, 4, pca_dim=pca_dim, generator=seeded())
    assert torch.equal(ids, expected)


def test_a_row_with_nan_is_in_no_cluster_and_changes_none():
    unreadable = torch.cat([features()[:4], torch.full((1, 7), torch.nan), features()[4:]])
    ids = feature_clusters(unreadable, 3, 4, generator=seeded())
    assert ids[4] == -1
    others = torch.cat([ids[:4], ids[5:]])
    assert torch.equal(others, feature_clusters(features(), 3, 4, generator=seeded()))


@pytest.mark.parametrize("unreadable", [[], [3], [0, 1, 2, 3, 8]])
def test_directions_take_no_second_copy_of_the_features(unreadable, monkeypatch):
    monkeypatch.setattr("sslight.modules.feature_clusters._ROWS", 4)
    scaled = features()
    scaled[unreadable, 2] = torch.nan
    expected = scaled.isfinite().all(dim=1)
    normalised = F.normalize(scaled[expected], dim=1, eps=1e-5)
    rows, readable = unit_rows(scaled)
    assert torch.equal(readable, expected)
    assert torch.equal(rows, normalised)
    assert rows.data_ptr() == scaled.data_ptr()
