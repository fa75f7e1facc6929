"""kNN from a feature store, the subject and the result."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from unit.features.fake_data import FakeData, network

from sslight.errors import RefusedRunError
from sslight.eval import Result, Subject
from sslight.eval.knn import KNN
from sslight.features import load_features
from sslight.features.extract import ExtractOptions
from sslight.features.manifest import LayerEntry, Manifest, SplitEntry
from sslight.features.writer import StoreWriter


def write(root, splits, *, bad=()):
    """A store of given features and labels, without any backbone."""
    shape = next(iter(splits.values()))[0].shape[1:]
    layers = {"x": LayerEntry(tuple(shape), "<f4")}
    writer = StoreWriter(root, Manifest("none", {"sha256": "0"}, None, layers))
    for name, (features, labels) in splits.items():
        n = len(features)
        entry = SplitEntry(n, name, None, labels is not None)
        ids = [str(i) for i in range(n)]
        ok = np.array([i not in bad for i in range(n)])
        with writer.open(name, entry, layers, labels=labels, ids=ids) as out:
            out.write(np.arange(n), {"x": features}, ok)
    return load_features(root)


def clouds(n, seed, shape=(8,)):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    centres = np.random.default_rng(99).normal(size=(4, *shape))
    return (centres[labels] + 1.5 * rng.normal(size=(n, *shape))).astype(np.float32), labels


def by_hand(train, train_labels, test, test_labels, k, temperature):
    """The definition, one query at a time, in float64."""
    a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (train, test))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    right = []
    for query, label in zip(b, test_labels, strict=True):
        similarity = a @ query
        nearest = np.argsort(-similarity)[:k]
        votes = np.zeros(4)
        for i in nearest:
            votes[train_labels[i]] += np.exp(similarity[i] / temperature)
        right.append(votes.argmax() == label)
    return np.mean(right)


@pytest.mark.parametrize("shape", [(8,), (2, 2, 2)])
def test_several_k_and_t_equal_the_definition(tmp_path, shape):
    train, test = clouds(60, 0, shape), clouds(40, 1, shape)
    store = write(tmp_path, {"train": train, "test": test})
    result = KNN(k=[1, 5, 20], temperature=[0.07, 1.0]).evaluate(Subject(store))
    assert result.n == 40
    assert len(result.rows) == 6
    for row in result.rows:
        expected = by_hand(*train, *test, row["k"], row["T"])
        assert row["top1"] == pytest.approx(expected)
        assert row["top5"] >= row["top1"]
    assert result.metrics["k5_T0.07/top1"] == result.rows[2]["top1"]
    assert 0.3 < result.metrics["k20_T1/top1"] < 1


def test_unreadable_and_unlabelled_rows_neither_vote_nor_count(tmp_path):
    (x, y), (u, v) = clouds(30, 0), clouds(20, 1)
    v = v.copy()
    v[4] = -1
    store = write(tmp_path, {"train": (x, y), "test": (u, v)}, bad=[7])
    result = KNN(k=5).evaluate(Subject(store))
    assert result.n == 18
    keep_train, keep_test = np.arange(30) != 7, ~np.isin(np.arange(20), [4, 7])
    expected = by_hand(x[keep_train], y[keep_train], u[keep_test], v[keep_test], 5, 0.07)
    assert result.metrics["k5/top1"] == pytest.approx(expected)


def test_a_k_beyond_the_train_rows_is_left_out(tmp_path):
    store = write(tmp_path, {"train": clouds(30, 0), "test": clouds(20, 1)})
    result = KNN().evaluate(Subject(tmp_path))
    assert result.options["k"] == [1, 10, 20]
    assert store.root == tmp_path


def test_the_subject_extracts_once_and_only_what_is_missing(tmp_path):
    data = FakeData({"train": 30, "test": 12, "more": 5})
    options = ExtractOptions(layers=["res3", "embedding"])
    subject = Subject(tmp_path / "f", backbone=network(), datamodule=data, options=options)
    result = KNN(k=[1, 3]).evaluate(subject)
    assert sorted(data.seen) == sorted([*range(30), *range(12)])
    assert set(result.metrics) == {
        f"{layer}/k{k}/top{n}" for layer in ("res3", "embedding") for k in (1, 3) for n in (1, 5)
    }
    data.seen = []
    KNN(k=[1, 3]).evaluate(subject)
    again = Subject(tmp_path / "f", backbone=network(), datamodule=data, options=options)
    assert again.features("test", "res3").shape == (12, 16)
    assert data.seen == []
    batch = next(subject.images("test", batch_size=4))
    assert batch["views"][0].shape == (4, 3, 16, 16)


def test_features_of_other_weights_are_not_taken_for_the_backbone_s(tmp_path):
    data = FakeData({"train": 30, "test": 12})
    before = network()
    Subject(tmp_path / "f", backbone=before, datamodule=data).features("train")
    after = network()
    with torch.no_grad():
        next(after.parameters()).add_(1)
    with pytest.raises(RefusedRunError, match=r"something else:\n  weights: there main"):
        KNN(k=1).evaluate(Subject(tmp_path / "f", backbone=after, datamodule=data))


def test_whatever_layers_are_stored_will_do_where_none_are_asked_for(tmp_path):
    data = FakeData({"train": 30, "test": 12})
    options = ExtractOptions(layers=["res3"])
    made = Subject(tmp_path / "f", backbone=network(), datamodule=data, options=options)
    KNN(k=1).evaluate(made)
    data.seen = []
    assert KNN(k=1).evaluate(Subject(tmp_path / "f", backbone=network(), datamodule=data)).options[
        "layers"
    ] == ["res3"]
    assert data.seen == []


def test_without_labels_nothing_is_extracted(tmp_path):
    data = FakeData({"train": 30, "test": 12})
    data.labels = lambda split: None
    with pytest.raises(RefusedRunError, match="has no labels"):
        KNN(k=1).evaluate(Subject(tmp_path / "f", backbone=network(), datamodule=data))
    assert data.seen == []


@pytest.mark.parametrize("options", [{"k": 0}, {"k": []}, {"temperature": 0.0}])
def test_numbers_without_sense_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} is"):
        KNN(**options)


def test_a_layer_that_is_not_stored_is_named(tmp_path):
    store = write(tmp_path, {n: clouds(9, 0) for n in ("train", "test")})
    with pytest.raises(RefusedRunError, match="no layer 'res9' of 'train'; it has x"):
        KNN(k=1, layers=["res9"]).evaluate(Subject(store))


def test_a_bare_store_says_what_it_lacks(tmp_path):
    subject = Subject(write(tmp_path, {"train": clouds(9, 0)}))
    with pytest.raises(ValueError, match="sslight eval --config"):
        _ = subject.backbone
    with pytest.raises(ValueError, match="needs images"):
        next(subject.images("train"))
    with pytest.raises(ValueError, match=r"extract.splits=\[test\]"):
        KNN().evaluate(subject)


def test_labels_are_needed_one_per_image(tmp_path):
    features = clouds(9, 0)[0]
    bare = write(tmp_path / "a", {"train": (features, None), "test": (features, None)})
    with pytest.raises(ValueError, match="has no labels"):
        KNN().evaluate(Subject(bare))
    many = write(
        tmp_path / "b", {n: (features, np.ones((9, 3), np.int8)) for n in ("train", "test")}
    )
    with pytest.raises(ValueError, match="one class per image"):
        KNN().evaluate(Subject(many))
    with pytest.raises(ValueError, match="finds itself"):
        KNN(train="test", test="test")


def test_a_result_is_a_table_and_a_file(tmp_path):
    result = Result("knn", {"k1/top1": 0.5}, {"k": [1]}, 10, 1.25, [{"k": 1, "top1": 0.5}])
    text = str(result)
    assert "knn: 10 images, 1.2 s" in text
    assert "0.5000" in text
    result.save(tmp_path / "eval" / "knn.json")
    saved = json.loads((tmp_path / "eval" / "knn.json").read_text())
    assert saved["metrics"] == {"k1/top1": 0.5}
    assert Result(**saved) == result
    assert "k1/top1" in str(Result("x", {"k1/top1": 0.5}))
