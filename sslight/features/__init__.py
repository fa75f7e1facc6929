"""The feature store: features of every image of a split, on disk, one row per image.

Reading needs numpy only; :mod:`compute` and :mod:`extract` (torch) are imported where used.
"""

from __future__ import annotations

from sslight.features.store import FeatureStore, Split, load_features

__all__ = ["FeatureStore", "Split", "load_features"]
