"""What protocols read of a store: vectors and labels, memory-mapped."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslight.errors import RefusedRunError
from sslight.eval.base import Subject


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


def class_ids(subject: Subject, split: str, protocol: str) -> Tensor:
    """Return the labels ``[N]`` of a split; an error where an image has several."""
    labels = np.asarray(subject.labels(split))
    if labels.ndim != 1:
        raise RefusedRunError(
            f"{protocol}: the labels of {split!r} are {list(labels.shape)}, several per image; "
            f"{protocol} here needs one class per image."
        )
    return torch.from_numpy(labels.astype(np.int64))
