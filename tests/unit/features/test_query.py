"""Nearest neighbours of features, against plain loops."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from unit.features.fake_data import FakeData, network

from sslight.errors import RefusedRunError
from sslight.features import query as module
from sslight.features.extract import ExtractOptions, extract_features
from sslight.features.query import search

BAD = [2, 7]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    data = FakeData({"train": 40, "test": 9}, bad=BAD)
    options = ExtractOptions(layers={"embedding": "none", "res3": "none"})
    return extract_features(network(), data, options, tmp_path_factory.mktemp("store"))


def by_loops(store, query, k):
    """Every readable image's cosine in float64, sorted; ties to the earlier split and row."""
    found = []
    for place, split in enumerate(store.values()):
        for row in range(len(split)):
            if split.ok[row]:
                stored = np.asarray(split.array()[row], np.float64)
                cosine = stored @ query / np.linalg.norm(stored) / np.linalg.norm(query)
                found.append((-cosine, place, row, split))
    found.sort(key=lambda item: item[:3])
    return [(split.name, row, split.ids[row], -minus) for minus, _, row, split in found[:k]]


@pytest.mark.parametrize("index", ["exact", "faiss"])
def test_the_nearest_are_those_that_loops_find(store, index, monkeypatch):
    if index == "faiss":
        pytest.importorskip("faiss")
    monkeypatch.setattr(module, "_QUERIES", 3)
    monkeypatch.setattr(module, "_ROWS", 7)
    queries = np.random.default_rng(0).normal(size=(7, 64))
    asked = torch.tensor(queries, dtype=torch.float32)
    found = search(list(store.values()), asked, list("abcdefg"), 5, index=index)
    assert found.queries == list("abcdefg")
    for query, matches in zip(queries, found.matches, strict=True):
        expected = by_loops(store, query, 5)
        assert [(m.split, m.row, m.id) for m in matches] == [e[:3] for e in expected]
        assert [m.similarity for m in matches] == pytest.approx([e[3] for e in expected], abs=1e-5)
        assert [m.rank for m in matches] == [1, 2, 3, 4, 5]


def test_a_stored_image_finds_itself_with_its_label(store):
    split = store["train"]
    found = search([split], torch.tensor(split.array()[11])[None], ["q"], 1)
    (match,) = found[0]
    assert (match.row, match.label, match.class_name) == (11, 2, "c")
    assert match.similarity == pytest.approx(1)
    told = json.loads(found.to_json())
    assert told[0]["query"] == "q"
    assert told[0]["matches"][0]["id"] == split.ids[11]
    assert split.ids[11] in str(found)


def test_unreadable_images_are_never_found(store):
    asked = torch.ones(1, 64)
    rows = [m.row for m in search([store["train"]], asked, ["q"], 40)[0]]
    assert sorted(rows) == [row for row in range(40) if row not in BAD]


def test_maps_are_compared_whole(store):
    split = store["train"]
    width = int(np.prod(split.array("res3").shape[1:]))
    asked = torch.tensor(split.array("res3")[5]).reshape(1, -1)
    assert asked.shape == (1, width)
    assert search([split], asked, ["q"], 1, layer="res3")[0][0].row == 5


def test_features_are_read_in_blocks(store, monkeypatch):
    """No more rows at a time than a block: what is in memory does not grow with the store."""
    seen = []
    original = module._Bank.__getitem__

    def spy(self, part):
        rows = original(self, part)
        seen.append(len(rows))
        return rows

    monkeypatch.setattr(module._Bank, "__getitem__", spy)
    monkeypatch.setattr("sslight.eval.neighbours.BANK_BLOCK", 6)
    search([store["train"]], torch.ones(1, 64), ["q"], 3)
    assert max(seen) == 6
    assert sum(seen) == 38


@pytest.mark.parametrize(
    ("queries", "k", "words"),
    [
        (torch.ones(1, 64), 0, "k is 0"),
        (torch.ones(1, 63), 1, "64 numbers per image"),
        (torch.full((1, 64), torch.nan), 1, "not finite"),
    ],
)
def test_what_cannot_be_asked(store, queries, k, words):
    with pytest.raises(RefusedRunError, match=words):
        search(list(store.values()), queries, ["q"], k)


def test_faiss_is_named_where_it_is_missing(store, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(ImportError, match=r"sslight\[faiss\]"):
        search(list(store.values()), torch.ones(1, 64), ["q"], 1, index="faiss")
