"""Stored features for a page: a sample of them, and whether they are of the run's weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sslight.checkpoints.record import read_record
from sslight.errors import RefusedRunError
from sslight.features import FeatureStore, load_features
from sslight.reports.base import GapError

#: Bytes of features held in memory at a time.
_MEMORY = 2**27
_SEED = 0


@dataclass(frozen=True)
class Sample:
    """Some rows of a split.

    Attributes:
        split: Its name.
        rows: Their dataset indices, ascending.
        features: ``[n, D]`` float32.
        labels: ``[n]`` class ids, -1 for none; None without labels, or with several per image.
        classes: Class names; None where unknown.
        count: Rows of the whole split.
        ids: Names of the images.
    """

    split: str
    rows: np.ndarray
    features: np.ndarray
    labels: np.ndarray | None
    classes: list[str] | None
    count: int
    ids: list[str]

    def class_name(self, label: int) -> str:
        """The name of a class, or its number."""
        known = self.classes is not None and 0 <= label < len(self.classes)
        return str(self.classes[label]) if known and self.classes else str(label)


def open_store(folder: Path) -> FeatureStore:
    """Open the features of a run.

    Raises:
        GapError: There are none.
    """
    for name in ("features", "features_ema", "features_student"):
        if (folder / name / "manifest.json").is_file():
            try:
                return load_features(folder / name)
            except (OSError, ValueError) as error:
                raise GapError(f"{folder / name} cannot be read: {error}") from error
    raise GapError("No features were extracted yet.", f"sslight extract --config {folder}")


def staleness(folder: Path, store: FeatureStore) -> str:
    """Say whether the features are of other weights than the run's; empty if they are not."""
    path = folder / "backbone.safetensors"
    record = read_record(path) if path.is_file() and store.root.name == "features" else None
    made_of = store.manifest.weights.get("sha256")
    if record is None or made_of in (None, record.sha256):
        return ""
    return (
        "These features were made of other weights than the run has now. Run `sslight extract "
        f"--config {folder} extract.out={store.root}_new`, or remove {store.root} and extract "
        "again."
    )


def draw(store: FeatureStore, split: str, count: int) -> Sample:
    """Draw up to ``count`` readable rows of the first layer, always the same ones.

    Raises:
        GapError: The split is not complete, or has no readable row.
    """
    try:
        part = store[split]
    except RefusedRunError as error:
        raise GapError(str(error)) from error
    array = part.array()
    width = int(np.prod(array.shape[1:], dtype=np.int64))
    usable = np.flatnonzero(part.ok)
    count = min(count, len(usable), max(1, _MEMORY // (4 * max(width, 1))))
    rows = np.sort(np.random.default_rng(_SEED).choice(usable, count, replace=False))
    features = np.asarray(array[rows], dtype=np.float32).reshape(len(rows), -1)
    finite = np.isfinite(features).all(axis=1)
    if not finite.any():
        raise GapError(f"No image of {split!r} has features that are finite numbers.")
    rows = rows[finite]
    return Sample(
        split, rows, features[finite], _labels(part.labels, rows), part.classes, len(part),
        [_short(part.ids[int(row)]) for row in rows] if count <= 4096 else [],
    )  # fmt: skip


def shown_split(store: FeatureStore) -> str:
    """The split to look at: test images where there are any."""
    return "test" if "test" in store else next(iter(store))


def _labels(labels: Any, rows: np.ndarray) -> np.ndarray | None:
    if labels is None or labels.ndim != 1:
        return None
    picked = np.asarray(labels[rows]).astype(np.int64)
    return picked if (picked >= 0).any() else None


def _short(name: str, longest: int = 60) -> str:
    return name if len(name) <= longest else f"…{name[1 - longest :]}"


def fingerprints(store: FeatureStore) -> dict[str, str]:
    """The hash of each split's images that the features were made from."""
    return {name: entry.fingerprint for name, entry in store.manifest.splits.items()}


def weights_source(store: FeatureStore) -> str:
    """Where the weights came from, as the store's manifest says it."""
    source = store.manifest.meta.get("source")
    return source if isinstance(source, str) else json.dumps(source) if source else ""
