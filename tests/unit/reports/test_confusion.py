from __future__ import annotations

import numpy as np
from sklearn.metrics import confusion_matrix

from sslight.reports.confusion import TABLE, confusion, pairs, ranking, table


def test_counts_are_scikit_learn_s():
    draw = np.random.default_rng(0)
    labels, guess = draw.integers(0, 6, 200), draw.integers(0, 6, 200)
    assert (confusion(labels, guess, 6) == confusion_matrix(labels, guess)).all()


def test_best_worst_and_mixed_up():
    counts = np.array([[9, 1, 0], [4, 6, 0], [0, 0, 0]])
    names = ["cat", "dog", "absent"]
    assert [row["name"] for row in ranking(counts, names)] == ["cat", "dog"]
    assert [(p["true"], p["guessed"], p["n"]) for p in pairs(counts, names)] == [
        ("dog", "cat", 4),
        ("cat", "dog", 1),
    ]


def test_of_many_classes_those_with_most_mistakes_are_drawn():
    counts = np.eye(40, dtype=int) * 10
    counts[30, 31] = 5
    found = table(counts, [str(i) for i in range(40)])
    assert len(found["rows"]) == TABLE
    assert found["left_out"] == 40 - TABLE
    assert {"30", "31"} <= set(found["names"])
