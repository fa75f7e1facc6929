"""A map of the features: 2-D by principal components, and by UMAP where it is installed."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from sslight.reports.base import Facts
from sslight.reports.features import Sample

#: Points lie on a square of this side.
EXTENT = 1000
#: UMAP needs a few more points than neighbours.
_ENOUGH = 40


def feature_map(sample: Sample) -> Facts:
    """Coordinates of each image, on the directions of its features (lengths are taken out).

    Returns:
        ``views``: name to ``x``, ``y`` (whole numbers up to 1000) and words for the axes;
        ``labels``, ``classes`` that occur, ``ids``, ``count`` of the whole split.
    """
    unit = sample.features / np.maximum(
        np.linalg.norm(sample.features, axis=1, keepdims=True), 1e-12
    )
    flat, shares = principal_components(unit)
    axes = [
        f"component {i + 1} ({100 * share:.0f} % of the variance)" for i, share in enumerate(shares)
    ]
    views = [{"name": "PCA", "axes": axes, **_on_square(flat)}]
    if len(unit) >= _ENOUGH and importlib.util.find_spec("umap") is not None:
        words = ["UMAP 1 (distances between groups mean little)", "UMAP 2"]
        views.append({"name": "UMAP", "axes": words, **_on_square(_umap(unit))})
    labels = sample.labels
    return {
        "views": views,
        "labels": None if labels is None else labels.tolist(),
        "names": {} if labels is None else {
            int(label): sample.class_name(int(label)) for label in np.unique(labels) if label >= 0
        },
        "ids": sample.ids,
        "split": sample.split,
        "shown": len(sample.rows),
        "count": sample.count,
    }  # fmt: skip


def principal_components(rows: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """The first two principal components ``[n, 2]`` and their shares of the variance.

    Signs are fixed (the entry of largest size is positive), so that the same features always give
    the same picture.
    """
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    flat = np.zeros((len(rows), 2))
    known = min(2, len(size))
    flat[:, :known] = left[:, :known] * size[:known]
    largest = np.abs(flat).argmax(axis=0)
    signs = np.sign(flat[largest, [0, 1]])
    variance = np.square(size)
    shares = (variance / max(variance.sum(), 1e-12))[:2].tolist()
    return flat * np.where(signs == 0, 1, signs), [*shares, 0.0, 0.0][:2]


def _umap(rows: np.ndarray) -> np.ndarray:
    import umap

    mapper: Any = umap.UMAP(n_neighbors=15, metric="cosine", random_state=0, n_jobs=1)
    flat: np.ndarray = mapper.fit_transform(rows)
    return flat


def _on_square(flat: np.ndarray) -> Facts:
    """Fit points into the square, both axes to one scale, the second one pointing up."""
    low, high = flat.min(axis=0), flat.max(axis=0)
    scale = EXTENT / max(float((high - low).max()), 1e-12)
    x, y = ((flat - (low + high) / 2) * scale + EXTENT / 2).round().astype(int).T
    return {"x": x.tolist(), "y": (EXTENT - y).tolist()}
