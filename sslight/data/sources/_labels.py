"""Labels and class names as foreign datasets keep them, found without reading an image."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.utils.data import ConcatDataset, TensorDataset
from torch.utils.data import Subset as TorchSubset

logger = logging.getLogger("sslight")


def labels_of(dataset: Any) -> np.ndarray | None:
    """Returns the labels of a map-style dataset: int64 ``[N]``, int8 ``[N, K]``, or None.

    Looks at ``targets`` and ``labels``, and into torch's Subset, ConcatDataset and TensorDataset.
    """
    if isinstance(dataset, TorchSubset):
        inner = labels_of(dataset.dataset)
        return None if inner is None else inner[np.asarray(dataset.indices, dtype=np.int64)]
    if isinstance(dataset, ConcatDataset):
        parts = [labels_of(part) for part in dataset.datasets]
        known = [part for part in parts if part is not None]
        return np.concatenate(known) if len(known) == len(parts) else None
    if isinstance(dataset, TensorDataset):
        return as_labels(dataset.tensors[1], len(dataset)) if len(dataset.tensors) > 1 else None
    for name in ("targets", "labels"):
        held = getattr(dataset, name, None)
        if held is not None and not callable(held):
            return _checked(held, dataset, name)
    return None


def _checked(held: Any, dataset: Any, name: str) -> np.ndarray | None:
    labels = as_labels(held, len(dataset))
    if labels is None:
        logger.warning(
            "%s.%s is not one integer (or one row of 1, 0, -1) for each of its %d images: "
            "they count as unlabelled.",
            type(dataset).__name__,
            name,
            len(dataset),
        )
    return labels


def as_labels(held: Any, n: int) -> np.ndarray | None:
    """Returns ``held`` as labels of ``n`` images, or None if it is something else."""
    try:
        values = np.asarray(held)
    except ValueError:  # rows of different lengths
        return None
    if len(values.shape) not in (1, 2) or len(values) != n or values.dtype.kind not in "iub":
        return None
    if values.ndim == 1:
        return np.maximum(values.astype(np.int64), -1)
    return values.astype(np.int8) if np.isin(values, (-1, 0, 1)).all() else None


def classes_of(dataset: Any, labels: np.ndarray | None) -> list[str] | None:
    """Returns the class names a dataset holds in ``classes``, if they cover the labels."""
    if isinstance(dataset, TorchSubset):
        return classes_of(dataset.dataset, labels)
    if isinstance(dataset, ConcatDataset):
        first, *rest = [classes_of(part, None) for part in dataset.datasets]
        return first if all(names == first for names in rest) else None
    names = getattr(dataset, "classes", None)
    if isinstance(names, str) or not isinstance(names, Sequence) or not len(names):
        return None
    texts = [name if isinstance(name, str) else _joined(name) for name in names]
    return texts if labels is None or len(texts) >= _count(labels) else None


def _joined(name: Any) -> str:
    """ImageNet's classes are tuples of synonyms."""
    return ", ".join(map(str, name)) if isinstance(name, (tuple, list)) else str(name)


def _count(labels: np.ndarray) -> int:
    if labels.ndim == 2:
        return int(labels.shape[1])
    return int(labels.max(initial=-1)) + 1


def fingerprint(kind: str, n: int, labels: np.ndarray | None, classes: list[str] | None) -> str:
    """Returns a hash of what a source of numbered images is."""
    digest = hashlib.sha256(json.dumps([kind, n, classes]).encode())
    if labels is not None:
        digest.update(f"{labels.dtype.str}{labels.shape}".encode())
        digest.update(np.ascontiguousarray(labels).data)
    return digest.hexdigest()
