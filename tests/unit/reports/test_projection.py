from __future__ import annotations

import numpy as np

from sslight.reports.features import Sample
from sslight.reports.projection import EXTENT, feature_map, principal_components


def test_components_are_scikit_learn_s_up_to_sign():
    from sklearn.decomposition import PCA

    rows = np.random.default_rng(0).normal(size=(30, 7)) * np.arange(1, 8)
    flat, shares = principal_components(rows)
    reference = PCA(2).fit(rows)
    np.testing.assert_allclose(np.abs(flat), np.abs(reference.transform(rows)), atol=1e-9)
    np.testing.assert_allclose(shares, reference.explained_variance_ratio_)


def test_the_map_is_the_same_each_time_and_survives_degenerate_features():
    for features in (
        np.zeros((5, 3)),
        np.ones((1, 4)),
        np.random.default_rng(1).normal(size=(9, 3)),
    ):
        n = len(features)
        sample = Sample("test", np.arange(n), features.astype(np.float32), None, None, n, ["x"] * n)
        first, second = feature_map(sample), feature_map(sample)
        assert first == second
        points = np.array([first["views"][0]["x"], first["views"][0]["y"]])
        assert points.shape == (2, n)
        assert 0 <= points.min() <= points.max() <= EXTENT
