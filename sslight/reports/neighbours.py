"""What the features think is alike: the nearest train images of test images, and their votes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sslight.eval.neighbours import nearest
from sslight.eval.votes import vote
from sslight.features import FeatureStore
from sslight.reports.base import Budget, Facts, GapError
from sslight.reports.features import Sample, draw, shown_split
from sslight.reports.pictures import Sheet

#: At most this many images are classified, by at most this many.
QUERIES, BANK = 2000, 50_000
_K, _TEMPERATURE = 20, 0.07


@dataclass(frozen=True)
class Search:
    """Queries and what was found for them.

    Attributes:
        queries: The images that were classified.
        bank: Those that voted.
        similarity: ``[Q, k]`` cosine similarities, descending.
        found: ``[Q, k]`` positions in ``bank``.
        guess: ``[Q]`` classes by kNN vote; None without labels.
        k: Neighbours that voted.
    """

    queries: Sample
    bank: Sample
    similarity: np.ndarray
    found: np.ndarray
    guess: np.ndarray | None
    k: int

    @property
    def right(self) -> np.ndarray | None:
        """``[Q]``: 1 right, 0 wrong, -1 where the query has no label; None without labels."""
        labels = self.queries.labels
        if self.guess is None or labels is None:
            return None
        return np.where(labels < 0, -1, (self.guess == labels).astype(int))


def search(store: FeatureStore) -> Search:
    """Find each query's neighbours: test images among train images, else a split in itself.

    Raises:
        GapError: There are too few images.
    """
    split = shown_split(store)
    other = "train" if "train" in store else split
    queries, bank = draw(store, split, QUERIES), draw(store, other, BANK)
    k = min(_K, len(bank.rows) - (split == other))
    if k < 1:
        raise GapError(f"{len(bank.rows)} image(s) with features are too few to have neighbours.")
    similarity, found = (
        tensor.numpy()
        for tensor in nearest(
            torch.from_numpy(queries.features),
            torch.from_numpy(bank.features),
            k + (split == other),
        )
    )
    if split == other:
        similarity, found = _without_itself(similarity, found, queries.rows, bank.rows)
    return Search(queries, bank, similarity, found, _guesses(similarity, found, queries, bank), k)


def _without_itself(
    similarity: np.ndarray, found: np.ndarray, queries: np.ndarray, bank: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Drop each query from its own neighbours (or the last one, where it is not among them)."""
    itself = bank[found] == queries[:, None]
    itself[~itself.any(axis=1), -1] = True
    shape = (len(found), found.shape[1] - 1)
    return similarity[~itself].reshape(shape), found[~itself].reshape(shape)


def _guesses(
    similarity: np.ndarray, found: np.ndarray, queries: Sample, bank: Sample
) -> np.ndarray | None:
    if queries.labels is None or bank.labels is None:
        return None
    voters = torch.from_numpy(bank.labels[found])
    weights = torch.from_numpy(similarity).masked_fill(voters < 0, -torch.inf)
    guess: np.ndarray = vote(weights, voters, _TEMPERATURE, top=1)[:, 0].numpy()
    return guess


def gallery(found: Search, sheet: Sheet, budget: Budget) -> Facts:
    """Some queries with their neighbours, half of them misclassified where there are enough."""
    for sample in (found.queries, found.bank):
        sheet.check(sample.split)
    chosen = _chosen(found.right, len(found.queries.rows), budget.queries)
    return {
        "rows": [_row(found, int(i), sheet, budget.neighbours) for i in chosen],
        "split": found.queries.split,
        "bank": found.bank.split,
        "labelled": found.guess is not None,
    }


def _chosen(right: np.ndarray | None, count: int, wanted: int) -> np.ndarray:
    """Positions of the queries to show, always the same ones."""
    if right is None:
        return np.unique(np.linspace(0, count - 1, min(wanted, count)).astype(int))
    wrong, fine = np.flatnonzero(right == 0), np.flatnonzero(right == 1)
    half = min(len(wrong), max(wanted // 2, wanted - len(fine)))
    both = np.concatenate([wrong[:half], fine[: wanted - half]])
    return np.sort(both if len(both) else np.arange(min(wanted, count)))


def _row(found: Search, i: int, sheet: Sheet, count: int) -> Facts:
    queries, bank, right = found.queries, found.bank, found.right
    label = None if queries.labels is None else int(queries.labels[i])
    row: Facts = {
        "tile": sheet.place(queries.split, queries.rows[i]),
        "id": queries.ids[i],
        "label": "" if label is None or label < 0 else queries.class_name(label),
        "right": None if right is None or right[i] < 0 else bool(right[i]),
    }
    if found.guess is not None:
        row["guess"] = queries.class_name(int(found.guess[i]))
    row["neighbours"] = [
        _neighbour(bank, int(at), float(similar), label, sheet)
        for at, similar in zip(found.found[i, :count], found.similarity[i, :count], strict=True)
    ]
    return row


def _neighbour(bank: Sample, at: int, similar: float, label: int | None, sheet: Sheet) -> Facts:
    own = None if bank.labels is None else int(bank.labels[at])
    known = own is not None and own >= 0
    return {
        "tile": sheet.place(bank.split, bank.rows[at]),
        "similarity": round(similar, 3),
        "label": bank.class_name(own) if known and own is not None else "",
        "same": own == label if known and label is not None and label >= 0 else None,
    }
