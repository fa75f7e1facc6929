from __future__ import annotations

import numpy as np
import pytest
from unit.eval.test_knn_eval import clouds, write

from sslight.errors import RefusedRunError
from sslight.eval import Subject
from sslight.eval.linear import Linear


def test_it_is_as_good_as_logistic_regression(tmp_path):
    linear_model = pytest.importorskip("sklearn.linear_model")
    (x, y), (u, v) = clouds(400, 0), clouds(300, 1)
    result = Linear().evaluate(Subject(write(tmp_path, {"train": (x, y), "test": (u, v)})))
    model = linear_model.LogisticRegression(max_iter=1000).fit(x, y)
    assert result.n == 300
    assert result.metrics["top1"] == pytest.approx(model.score(u, v), abs=0.02)
    low, high = result.intervals["top1"]
    assert low < result.metrics["top1"] < high
    assert result.metrics["top5"] == 1.0


def test_the_choice_does_not_see_the_test_split(tmp_path):
    (x, y), (u, v) = clouds(200, 0), clouds(100, 1)
    chosen = []
    for name, labels in (("a", v), ("b", (v + 1) % 4)):
        store = write(tmp_path / name, {"train": (x, y), "test": (u, labels)})
        (row,) = Linear(epochs=5).evaluate(Subject(store)).rows
        chosen.append((row["lr"], row["weight_decay"]))
    assert chosen[0] == chosen[1]


def test_a_diverged_head_is_not_chosen(tmp_path):
    (x, y), test = clouds(200, 0), clouds(100, 1)
    store = write(tmp_path, {"train": (x, y), "test": test})
    (row,) = Linear(lr=[1.0], weight_decay=[1e10, 0.0], epochs=20).evaluate(Subject(store)).rows
    assert (row["lr"], row["weight_decay"]) == (1.0, 0.0)


def test_unlabelled_and_unreadable_rows_take_no_part(tmp_path):
    (x, y), (u, v) = clouds(60, 0), clouds(20, 1)
    y, v = y.copy(), v.copy()
    y[:5], v[3] = -1, -1
    store = write(tmp_path, {"train": (x, y), "test": (u, v)}, bad=[7])
    whole = Linear(epochs=5).evaluate(Subject(store))
    assert whole.n == 18
    keep, keep_test = (np.arange(60) > 4) & (np.arange(60) != 7), ~np.isin(np.arange(20), [3, 7])
    kept = {"train": (x[keep], y[keep]), "test": (u[keep_test], v[keep_test])}
    clean = write(tmp_path / "clean", kept)
    assert Linear(epochs=5).evaluate(Subject(clean)).metrics == whole.metrics
    nothing = write(tmp_path / "none", {"train": (x, y - 9), "test": (u, v)})
    with pytest.raises(RefusedRunError, match="no image of the split 'train'"):
        Linear().evaluate(Subject(nothing))


def test_several_labels_per_image_give_mean_average_precision(tmp_path):
    metrics = pytest.importorskip("sklearn.metrics")
    (x, y), (u, v) = clouds(300, 0), clouds(200, 1)
    many, many_test = (np.stack([k == 0, k < 2, k > 2], 1).astype(np.int64) for k in (y, v))
    many[:20, 1] = -1
    store = write(tmp_path, {"train": (x, many), "test": (u, many_test)})
    result = Linear().evaluate(Subject(store))
    assert set(result.metrics) == {"map"}
    chance = metrics.average_precision_score(many_test, np.zeros(many_test.shape))
    assert result.metrics["map"] > chance + 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": [0.0]}, "learning rates above 0"),
        ({"epochs": 0}, "count from 1"),
        ({"held_out": 1.0}, "between 0 and 1"),
    ],
)
def test_mistakes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Linear(**options)
