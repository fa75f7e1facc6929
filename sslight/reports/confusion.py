"""Which classes are told apart, and which are taken for each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from sslight.eval._statistics import interval
from sslight.reports.base import Facts, GapError
from sslight.reports.neighbours import Search

#: Classes in the drawn table, the ones with the most mistakes; pairs and classes in the lists.
TABLE, LISTED = 16, 8


def classes(found: Search) -> Facts:
    """Counts of true against guessed classes, the best and the worst classes, and mixed-up pairs.

    Raises:
        GapError: There are no labels.
    """
    labels, guess = found.queries.labels, found.guess
    if labels is None or guess is None:
        raise GapError("The images have no labels, so there are no classes to tell apart.")
    known = (labels >= 0) & (guess >= 0)
    if not known.any():
        raise GapError("No classified image has a label.")
    names = [found.queries.class_name(i) for i in range(int(max(labels.max(), guess.max())) + 1)]
    counts = confusion(labels[known], guess[known], len(names))
    rows = ranking(counts, names)
    n, right = int(counts.sum()), int(np.trace(counts))
    low, high = interval(right / n, n)
    return {
        "accuracy": right / n, "low": low, "high": high, "n": n, "k": found.k,
        "count": found.queries.count, "split": found.queries.split,
        "bank": len(found.bank.rows), "bank_count": found.bank.count,
        "best": rows[: min(LISTED, len(rows) // 2)],
        "worst": rows[::-1][: min(LISTED, len(rows) - len(rows) // 2)],
        "pairs": pairs(counts, names), "table": table(counts, names), "classes": len(rows),
    }  # fmt: skip


def confusion(labels: np.ndarray, guess: np.ndarray, size: int) -> np.ndarray:
    """Count ``[true, guessed]``."""
    counts = np.bincount(labels * size + guess, minlength=size * size)
    return counts.reshape(size, size)


def ranking(counts: np.ndarray, names: list[str]) -> list[Facts]:
    """Every class that occurs with its accuracy and interval, best first."""
    rows = []
    for i in np.flatnonzero(counts.sum(axis=1)):
        n, right = int(counts[i].sum()), int(counts[i, i])
        low, high = interval(right / n, n)
        rows.append({"name": names[i], "share": right / n, "low": low, "high": high, "n": n})
    return sorted(rows, key=lambda row: (-row["share"], row["name"]))


def pairs(counts: np.ndarray, names: list[str]) -> list[Facts]:
    """The commonest mistakes."""
    wrong = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[:LISTED]
    found = [divmod(int(place), len(counts)) for place in order if wrong.flat[place]]
    return [_pair(counts, names, true, guessed) for true, guessed in found]


def _pair(counts: np.ndarray, names: list[str], true: int, guessed: int) -> dict[str, Any]:
    n, of = int(counts[true, guessed]), int(counts[true].sum())
    return {"true": names[true], "guessed": names[guessed], "n": n, "of": of, "share": n / of}


def table(counts: np.ndarray, names: list[str]) -> Facts:
    """The counts as shares of each row; of many classes those with the most mistakes."""
    occur = np.flatnonzero(counts.sum(axis=1) + counts.sum(axis=0))
    mistakes = (counts.sum(axis=1) + counts.sum(axis=0) - 2 * np.diag(counts))[occur]
    kept = np.sort(occur[np.argsort(-mistakes, kind="stable")[:TABLE]])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = [
        {
            "name": names[i],
            "cells": [
                {
                    "n": int(counts[i, j]),
                    "share": float(shares[i, j]),
                    "name": names[j],
                    "right": bool(i == j),
                }
                for j in kept
            ],
        }
        for i in kept
    ]
    return {"names": [names[i] for i in kept], "rows": rows, "left_out": len(occur) - len(kept)}
