from __future__ import annotations

import pytest
import torch

from sslight.losses.deepcluster_v2 import cluster_prediction


def loss(rows: int = 6, heads: int = 2, images: int = 3, width: int = 4, **options: float):
    embedding, centroids = torch.ones(rows, 4), torch.ones(heads, 5, width)
    target = torch.zeros(2, images, dtype=torch.int64)
    return cluster_prediction(embedding, centroids, target, **options)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"got \(6, 4\), \(3, 5, 4\) and \(2, 3\)"):
        loss(heads=3)
    with pytest.raises(ValueError, match=r"got \(6, 4\), \(2, 5, 3\)"):
        loss(width=3)


def test_crops_must_be_whole():
    with pytest.raises(ValueError, match="7 embeddings are no whole number of crops of 3 images"):
        loss(rows=7)


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        loss(temperature=0)


def test_unknown_clusters_cost_nothing():
    embedding = torch.randn(4, 3, requires_grad=True)
    target = torch.full((1, 2), -1)
    value = cluster_prediction(embedding, torch.randn(1, 5, 3), target)
    value.backward()
    assert value == 0
    assert not embedding.grad.any()
