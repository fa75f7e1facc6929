"""Weighted k-nearest-neighbour votes: ``exp(similarity / T)`` of the k most similar rows.

The protocol of Wu et al. (2018, arXiv:1805.01978, section 3.4), as used by DINO: features are
L2-normalised in float32, each of the k nearest train images votes for its class with weight
``exp(similarity / T)``, votes are summed per class, and a prediction is ranked among the classes
that received a vote. Equal similarities go to the lower train row and equal votes to the lower
class, so the result does not depend on how the work was cut into blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sslight.eval.neighbours import as_tensor, nearest

#: How many of the best classes are kept: enough for top-5.
TOP = 5
#: Queries searched for at a time; the bank is read once for each block of them. A block is one
#: rank's work, whatever their number: the last digits of a product depend on its shape.
QUERY_BLOCK = 8192


@dataclass(frozen=True)
class Tally:
    """Counts of right predictions; adding tallies of disjoint queries gives the whole's.

    Attributes:
        settings: The (k, temperature) pairs, k-major.
        correct: ``[len(settings), 2]`` int64: right at the first guess, right among five.
        total: Queries counted.
    """

    settings: tuple[tuple[int, float], ...]
    correct: Tensor
    total: int

    def accuracy(self) -> dict[tuple[int, float], tuple[float, float]]:
        """Top-1 and top-5 accuracy in [0, 1] for each setting."""
        if self.total == 0:
            raise ValueError("No query has a label (-1 means none), so there is no accuracy.")
        shares = (self.correct.double() / self.total).tolist()
        return {s: (top1, top5) for s, (top1, top5) in zip(self.settings, shares, strict=True)}


def count_right(
    bank: Any,
    bank_labels: Tensor,
    queries: Any,
    query_labels: Tensor,
    *,
    k: Sequence[int] = (20,),
    temperature: Sequence[float] = (0.07,),
    device: torch.device | str = "cpu",
    memory: int = 2**28,
    share: tuple[int, int] = (0, 1),
) -> Tally:
    """Classify the queries by their neighbours in the bank, for every k and temperature.

    Rows whose label is -1 or whose features are not finite neither vote nor count.

    Args:
        bank: Train features ``[N, D]``: a tensor or a (memory-mapped) array, normalised or not.
        bank_labels: ``[N]`` class numbers, -1 for none.
        queries: ``[Q, D]``, like ``bank``.
        query_labels: ``[Q]``.
        k: Numbers of neighbours; one search serves them all.
        temperature: Temperatures T.
        device: Where similarities are computed.
        memory: Bytes for one block of similarities.
        share: ``(r, W)`` counts every W-th block of queries only, from the r-th.

    Raises:
        ValueError: A k is larger than the number of labelled train rows, or shapes do not fit.
    """
    settings = _settings(k, temperature)
    bank_rows = usable_rows(bank, bank_labels)
    query_rows = usable_rows(queries, query_labels)
    if max(k) > len(bank_rows):
        raise ValueError(
            f"k={max(k)} asks for more neighbours than the {len(bank_rows)} labelled train rows. "
            f"Give k <= {len(bank_rows)}."
        )
    correct, total = torch.zeros(len(settings), 2, dtype=torch.int64), 0
    first, step = (number * QUERY_BLOCK for number in share)
    for start in range(first, len(query_rows), step):
        rows = query_rows[start : start + QUERY_BLOCK]
        total += len(rows)
        similarity, found = nearest(
            _Picked(queries, rows), _Picked(bank, bank_rows), max(k), device=device, memory=memory
        )
        voters = bank_labels[bank_rows][found]
        for i, (n, t) in enumerate(settings):
            guess = vote(similarity[:, :n], voters[:, :n], t)
            right = guess == query_labels[rows][:, None]
            correct[i] += torch.stack([right[:, :1].any(1).sum(), right.any(1).sum()])
    return Tally(settings, correct, total)


def vote(similarity: Tensor, labels: Tensor, temperature: float, top: int = TOP) -> Tensor:
    """Rank the classes of each query's neighbours by their summed votes ``exp(similarity / T)``.

    Args:
        similarity: ``[Q, k]`` cosine similarities of the neighbours.
        labels: ``[Q, k]`` their classes.
        temperature: T; the smaller, the more the nearest neighbour decides.
        top: Classes to return.

    Returns:
        ``[Q, top]`` classes, best first, -1 where fewer classes received a vote.
    """
    guesses = labels.new_full((len(labels), top), -1)
    step = max(1, 2**22 // labels.shape[1] ** 2)
    for start in range(0, len(labels), step):
        part = slice(start, start + step)
        ranked = _ranked_classes(similarity[part], labels[part], temperature)[:, :top]
        guesses[part, : ranked.shape[1]] = ranked
    return guesses


def usable_rows(features: Any, labels: Tensor) -> Tensor:
    """Rows with a label (not -1) and finite features, ascending.

    Args:
        features: ``[N, D]`` tensor or array.
        labels: ``[N]`` class numbers.
    """
    if labels.ndim != 1 or len(labels) != len(features) or len(features.shape) != 2:
        raise ValueError(
            f"kNN needs features [N, D] and one class per row, got features "
            f"{tuple(features.shape)} and labels {tuple(labels.shape)}."
        )
    keep = labels >= 0
    for start in range(0, len(labels), QUERY_BLOCK):
        part = slice(start, start + QUERY_BLOCK)
        keep[part] &= as_tensor(features[part]).isfinite().all(dim=1).cpu()
    return keep.nonzero().flatten()


class _Picked:
    """Some rows of a tensor or array, read when sliced."""

    def __init__(self, source: Any, rows: Tensor) -> None:
        self.source, self.rows = source, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> Any:
        rows = self.rows[part]
        return self.source[rows if isinstance(self.source, Tensor) else rows.numpy()]


def _settings(k: Sequence[int], temperature: Sequence[float]) -> tuple[tuple[int, float], ...]:
    if not k or not temperature or min(k) < 1 or min(temperature) <= 0:
        raise ValueError(
            f"kNN needs at least one k >= 1 and one temperature > 0, got k={list(k)} and "
            f"temperature={list(temperature)}."
        )
    return tuple((int(n), float(t)) for n in k for t in temperature)


def _ranked_classes(similarity: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Distinct classes of each row by summed votes, -1 behind them (compares all pairs)."""
    labels, order = labels.sort(dim=1, stable=True)
    logits = similarity.double().gather(1, order) / temperature
    weights = (logits - logits.amax(dim=1, keepdim=True)).exp()  # a common factor: no overflow
    same = labels[:, :, None] == labels[:, None, :]
    votes = (same.double() @ weights[:, :, None]).squeeze(2)
    first = labels != labels.roll(1, dims=1)
    first[:, 0] = True
    votes = torch.where(first, votes, -1.0)
    place = votes.sort(dim=1, descending=True, stable=True).indices
    return torch.where(first, labels, -1).gather(1, place)
