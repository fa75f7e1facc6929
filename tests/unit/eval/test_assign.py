"""The table of clusters, hard and soft, and a method's own prototypes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import build
from unit.eval.test_knn_eval import clouds, write
from unit.eval.test_predict import read

from sslight import registry
from sslight.errors import RefusedRunError
from sslight.eval import Subject
from sslight.eval.assign import Assign


def stored(folder):
    return Subject(write(folder, {"train": clouds(60, 0), "test": clouds(30, 1)}, bad=[4]))


def test_hard_is_the_nearest_centroid_and_soft_its_shares(tmp_path):
    subject = stored(tmp_path / "f")
    hard = Assign(num_clusters=4).evaluate(subject)
    soft = Assign(num_clusters=4, soft=True, top=4, temperature=0.5).evaluate(subject)
    hard.save(tmp_path / "hard.json")
    soft.save(tmp_path / "soft.json")
    one, many = read(tmp_path / "hard.csv"), read(tmp_path / "soft.csv")
    assert len(one) == 90
    assert [(r["split"], r["path"]) for r in one[:61:60]] == [("train", "0"), ("test", "0")]
    for row, shares in zip(one, many, strict=True):
        assert row["cluster_1"] == shares["cluster_1"]
        if row["ok"] == "True":
            total = sum(float(shares[f"share_{i}"]) for i in range(1, 5))
            assert total == pytest.approx(1, abs=1e-4)
    names = [r["cluster_1"] for r in one if r["split"] == "test" and r["ok"] == "True"]
    counts = np.unique(names, return_counts=True)[1] / len(names)
    assert hard.metrics["test/largest"] == pytest.approx(counts.max())
    entropy = -(counts * np.log(counts)).sum()
    assert hard.metrics["test/perplexity"] == pytest.approx(np.exp(entropy))


def test_a_method_s_own_prototypes(tmp_path, monkeypatch):
    """Scores are those that the method computes for its embeddings."""
    method = build("swav")
    draw = np.random.default_rng(0)
    x = draw.normal(size=(20, method.backbone.embed_dim)).astype(np.float32)
    subject = Subject(write(tmp_path / "f", {"train": (x, None)}))
    (tmp_path / "checkpoints").mkdir()
    monkeypatch.setattr("sslight.run.load.load_method", lambda run: method)
    monkeypatch.setattr("sslight.load_method", lambda run: method, raising=False)
    result = Assign(by="prototypes").evaluate(subject)
    result.save(tmp_path / "assign.json")
    rows = read(tmp_path / "assign.csv")
    with torch.inference_mode():
        projections = method.eval().projector(torch.from_numpy(x))
        expected = method.prototypes(projections)[0].argmax(1)
    assert [int(row["cluster_1"]) for row in rows] == expected.tolist()
    monkeypatch.setattr("sslight.load_method", lambda run: build("simclr"))
    with pytest.raises(RefusedRunError, match="SimCLR has no prototypes"):
        Assign(by="prototypes").evaluate(subject)


def methods_with_prototypes():
    names = registry.names("method")
    return [n for n in names if hasattr(registry.resolve("method", n), "prototype_head")]


@pytest.mark.parametrize("name", methods_with_prototypes())
def test_scores_are_per_embedding_and_prototype(name):
    method = build(name)
    method.on_data(16, None)
    method.eval()
    with torch.inference_mode():
        embedding = torch.randn(5, method.backbone.embed_dim)
        whole = method.prototype_head(embedding)
        alone = method.prototype_head(embedding[2:3])
    assert whole.ndim == 2
    assert whole.shape[1] > 1
    torch.testing.assert_close(alone[0], whole[2])


def test_methods_with_prototypes_were_found():
    assert len(methods_with_prototypes()) >= 6


def test_mistakes_are_refused(tmp_path):
    subject = stored(tmp_path / "f")
    with pytest.raises(RefusedRunError, match="is no run"):
        Assign(by="prototypes").evaluate(subject)
    with pytest.raises(RefusedRunError, match="0 clusters of 59"):
        Assign().evaluate(subject)
    with pytest.raises(ValueError, match="temperature is above 0"):
        Assign(temperature=0.0)
