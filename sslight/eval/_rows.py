"""What protocols read of a store: vectors and labels, memory-mapped."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslight.errors import RefusedRunError
from sslight.eval.base import Subject

#: Rows read at a time.
BLOCK = 8192


class Flat:
    """A memory-mapped ``[N, ...]`` as ``[N, D]``, read when sliced."""

    def __init__(self, array: np.ndarray):
        self._array = array
        self.shape = (len(array), int(np.prod(array.shape[1:], dtype=np.int64)))

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, rows: Any) -> np.ndarray:
        part: np.ndarray = self._array[rows]
        return part.reshape(len(part), -1)


def vectors(array: np.ndarray) -> Any:
    """Return features ``[N, ...]`` as something that gives ``[n, D]`` when sliced."""
    return array if array.ndim == 2 else Flat(array)


def blocks(features: Any, rows: np.ndarray, size: int = BLOCK) -> Iterator[Tensor]:
    """Read some rows of ``[N, D]`` features, ``size`` of them at a time, as float32 on the CPU."""
    for start in range(0, len(rows), size):
        yield torch.from_numpy(np.asarray(features[rows[start : start + size]])).float()


def class_ids(subject: Subject, split: str, protocol: str) -> Tensor:
    """Return the labels ``[N]`` of a split; an error where an image has several."""
    labels = np.asarray(subject.labels(split))
    if labels.ndim != 1:
        raise RefusedRunError(
            f"{protocol}: the labels of {split!r} are {list(labels.shape)}, several per image; "
            f"{protocol} here needs one class per image."
        )
    return torch.from_numpy(labels.astype(np.int64))


def readable_rows(subject: Subject, split: str, protocol: str) -> np.ndarray:
    """Rows whose image could be read, ascending; an error where there are none."""
    rows = np.flatnonzero(subject.split(split).ok)
    if not len(rows):
        raise RefusedRunError(f"{protocol}: no image of the split {split!r} could be read.")
    return rows


def labelled_rows(subject: Subject, split: str, protocol: str) -> tuple[np.ndarray, Tensor]:
    """Rows with a label whose image could be read, ascending, and the labels of all rows.

    Labels are ``[N]`` with -1 for none, or ``[N, K]`` in {1, 0, -1 unknown}.
    """
    labels = torch.from_numpy(np.asarray(subject.labels(split)).astype(np.int64))
    known = (labels >= 0) if labels.ndim == 1 else (labels >= 0).any(dim=1)
    rows = np.flatnonzero(known.numpy() & np.asarray(subject.split(split).ok, dtype=bool))
    if not len(rows):
        raise RefusedRunError(f"{protocol}: no image of the split {split!r} has a label.")
    return rows, labels


def need(module: str, protocol: str) -> Any:
    """Import a module of an optional package; without it, an error that names the extra."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RefusedRunError(
            f"{protocol} needs {module.partition('.')[0]}, which is not installed: "
            "pip install 'sslight[eval]'"
        ) from error
