"""Few-shot classifiers and the figures of labelled protocols, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sslight.eval._few import Prepared, trained
from sslight.eval._scores import accuracies, average_precision, mean_average_precision
from sslight.eval._shots import Pool
from sslight.eval.cluster import agreement, matched_accuracy

sklearn = pytest.importorskip("sklearn")


def problem(n: int = 120, width: int = 6):
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, n)
    x = draw.normal(size=(3, width))[labels] * 2 + draw.normal(size=(n, width))
    return x.astype(np.float32), labels


def test_the_svm_is_linear_svc_of_unit_rows_per_class():
    from sklearn.svm import LinearSVC

    x, y = problem()
    pool = Pool.of(np.arange(len(x)), torch.from_numpy(y), 0.2, 0)
    shots = pool.draw(4, 1, 19)
    prepared = Prepared(x)
    weight, bias = trained(prepared, shots, 3, "svm", 10.0, 0)
    scores = prepared.scores(np.arange(len(x)), weight, bias).numpy()
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    for c, (rows, positive) in shots.items():
        assert positive.sum() == 4
        assert len(rows) == 12
        np.testing.assert_array_equal(y[rows] == c, positive)
        assert not set(rows) & set(pool.held)
        model = LinearSVC(C=10.0, class_weight={1: 2, -1: 1}, dual=True, max_iter=2000,
                          random_state=0)  # fmt: skip
        model.fit(unit[rows], np.where(positive, 1, -1))
        np.testing.assert_allclose(scores[:, c], model.decision_function(unit), atol=1e-4)


def test_logistic_regression_is_of_all_classes_at_once():
    from sklearn.linear_model import LogisticRegression

    x, y = problem()
    pool = Pool.of(np.arange(len(x)), torch.from_numpy(y), 0.2, 0)
    shots = pool.draw(5, 1, 19)
    mean, scale = torch.from_numpy(x.mean(0)), torch.from_numpy(x.std(0))
    prepared = Prepared(x, mean, scale)
    weight, bias = trained(prepared, shots, 3, "logistic", 1.0, 0)
    rows = shots[0][0]
    standardised = (x - x.mean(0)) / x.std(0)
    model = LogisticRegression(C=1.0, max_iter=1000).fit(standardised[rows], y[rows])
    scores = prepared.scores(np.arange(len(x)), weight, bias)
    np.testing.assert_allclose(
        scores.softmax(1).numpy(), model.predict_proba(standardised), atol=1e-3
    )


def test_a_larger_k_holds_the_smaller_draw():
    _, y = problem()
    pool = Pool.of(np.arange(len(y)), torch.from_numpy(y), 0.2, 0)
    few, many = (set(pool.draw(k, 7, 19)[0][0]) for k in (2, 8))
    assert few < many
    assert set(pool.draw(2, 8, 19)[0][0]) != few


def test_several_labels_get_negatives_of_their_own():
    draw = np.random.default_rng(0)
    targets = torch.from_numpy(draw.integers(-1, 2, (200, 3)))
    pool = Pool.of(np.arange(200), targets, 0.1, 0)
    for c, (rows, positive) in pool.draw(2, 0, 5).items():
        assert (positive.sum(), len(rows)) == (2, 12)
        np.testing.assert_array_equal(targets[rows, c].numpy(), positive.astype(int))


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_mean_average_precision_is_scikit_learns(scale):
    from sklearn.metrics import average_precision_score

    draw = np.random.default_rng(0)
    targets, scores = draw.integers(0, 2, (80, 4)), draw.normal(size=(80, 4)) * scale
    scores[10:20] = scores[0]  # ties
    found = mean_average_precision(torch.from_numpy(scores), torch.from_numpy(targets))
    assert found == pytest.approx(average_precision_score(targets, scores), rel=1e-6)
    targets[:, 2] = 0  # a class that does not occur
    targets[5:15, 1] = -1
    expected = [
        average_precision_score(targets[keep, c], scores[keep, c])
        for c in (0, 1, 3)
        for keep in [targets[:, c] >= 0]
    ]
    found = mean_average_precision(torch.from_numpy(scores), torch.from_numpy(targets))
    assert found == pytest.approx(np.mean(expected), rel=1e-6)
    assert average_precision(torch.zeros(4), torch.tensor([1, 0, 0, 1])) == pytest.approx(0.5)


def test_accuracy_is_scikit_learns_in_any_blocks():
    from sklearn.metrics import top_k_accuracy_score

    draw = np.random.default_rng(0)
    scores, targets = torch.from_numpy(draw.normal(size=(90, 8))), draw.integers(0, 8, 90)
    parts = [slice(0, 1), slice(1, 50), slice(50, 90)]
    found = accuracies((scores[p], torch.from_numpy(targets)[p]) for p in parts)
    for name, k in (("top1", 1), ("top5", 5)):
        assert found[name] == pytest.approx(top_k_accuracy_score(targets, scores, k=k))
    assert accuracies([(scores[:4], torch.full((4,), 99))])["top5"] == 0.0


def test_clusters_agree_as_scikit_learn_says():
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    draw = np.random.default_rng(0)
    classes = draw.integers(0, 4, 100)
    clusters = np.where(draw.random(100) < 0.6, (classes + 1) % 4, draw.integers(0, 6, 100))
    found = agreement(torch.from_numpy(clusters), torch.from_numpy(classes))
    assert found["nmi"] == pytest.approx(normalized_mutual_info_score(classes, clusters), rel=1e-4)
    assert found["ari"] == pytest.approx(adjusted_rand_score(classes, clusters), rel=1e-4)


def test_the_matching_is_the_best_of_all():
    from itertools import permutations

    draw = np.random.default_rng(1)
    classes, clusters = draw.integers(0, 3, 60), draw.integers(0, 5, 60)
    best = max(
        np.mean([chosen[c] == k for c, k in zip(classes, clusters, strict=True)])
        for chosen in permutations(range(5), 3)
    )
    found = matched_accuracy(torch.from_numpy(clusters), torch.from_numpy(classes))
    assert found == pytest.approx(best)
