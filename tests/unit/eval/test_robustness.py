"""Masks, classes by name, and stores of other weights."""

from __future__ import annotations

import dataclasses

import pytest
from unit.eval.test_knn_eval import clouds, write

from sslight.errors import RefusedRunError
from sslight.eval import Subject
from sslight.eval._probe import Probe
from sslight.eval.robustness import Robustness
from sslight.features import load_features

QUICK = Probe(lr=[3.0], weight_decay=[0.0], epochs=20)


def splits():
    (x, y), test, (u, v) = clouds(200, 0), clouds(80, 1), clouds(120, 2)
    part = v < 2
    return {"train": (x, y), "test": test, "shifted": (u[part], v[part])}


def test_classes_that_a_set_lacks_cannot_be_chosen(tmp_path):
    subject = Subject(write(tmp_path, splits()))
    (masked,) = Robustness(probe=QUICK).evaluate(subject).rows
    (free,) = Robustness(probe=QUICK, mask=False).evaluate(subject).rows
    assert (masked["set"], masked["classes"], free["classes"]) == ("shifted", 2, 4)
    assert masked["top1"] > free["top1"]
    assert masked["clean"] > free["clean"]
    assert masked["gap"] == pytest.approx(masked["clean"] - masked["top1"])


def test_another_store_s_classes_are_matched_by_name(tmp_path):
    mine = splits()
    shifted = mine.pop("shifted")
    subject = Subject(_named(write(tmp_path / "a", mine), ["ant", "bee", "cat", "dog"]))
    same = write(tmp_path / "b", {"shifted": shifted})
    there = Robustness(probe=QUICK, store=_named(same, ["ant", "bee", "cat", "dog"]).root)
    turned = write(tmp_path / "c", {"shifted": (shifted[0], 1 - shifted[1])})
    other = Robustness(probe=QUICK, store=_named(turned, ["bee", "ant"]).root)
    assert there.evaluate(subject).metrics == other.evaluate(subject).metrics
    strange = _named(write(tmp_path / "d", {"shifted": shifted}), ["ant", "yak"])
    with pytest.raises(RefusedRunError, match="not trained: yak"):
        Robustness(probe=QUICK, store=strange.root).evaluate(subject)


def _named(store, classes):
    manifest = store.manifest
    manifest.splits = {
        n: dataclasses.replace(e, classes=classes) for n, e in manifest.splits.items()
    }
    (store.root / "manifest.json").write_text(manifest.to_json())
    return load_features(store.root)


def test_a_store_of_other_weights_is_refused(tmp_path):
    subject = Subject(write(tmp_path / "a", splits()))
    other = write(tmp_path / "b", {"shifted": clouds(20, 2)})
    other.manifest.weights["sha256"] = "1"
    (other.root / "manifest.json").write_text(other.manifest.to_json())
    with pytest.raises(RefusedRunError, match="of other weights"):
        Robustness(store=other.root).evaluate(subject)


def test_without_another_set_there_is_nothing_to_measure(tmp_path):
    subject = Subject(write(tmp_path, {n: clouds(20, 0) for n in ("train", "test")}))
    with pytest.raises(RefusedRunError, match=r"data\.splits"):
        Robustness(probe=QUICK).evaluate(subject)
