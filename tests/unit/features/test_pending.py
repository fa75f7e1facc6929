"""Rows that are still to be computed, and the memory that they do not take."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from unit.features.fake_data import FakeData, network

from sslight.features import files, load_features, pending
from sslight.features.extract import ExtractOptions, extract_features
from sslight.features.pending import Pending
from sslight.features.writer import merge_shards


@pytest.fixture
def short_chunks(monkeypatch):
    monkeypatch.setattr(pending, "CHUNK", 16)
    monkeypatch.setattr(files, "CHUNK", 16)


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("size", [1, 3, 5, 40])
def test_whole_batches_that_miss_a_row(short_chunks, rank, size):
    draw = np.random.default_rng(size)
    own = range(rank, 101, 3)
    marks = (draw.random(len(own)) < 0.8).astype(np.uint8)
    rows = Pending(own, marks)
    batches = [list(own)[at : at + size] for at in range(0, len(own), size)]
    wanted = [i for i, mark in zip(own, marks, strict=True) if not mark]
    kept = [i for batch in batches for i in batch if set(batch) & set(wanted)]
    assert len(rows) == len(wanted)
    assert np.concatenate([*rows.chunks(size)]).tolist() == kept
    assert all(len(chunk) <= max(size, 16) for chunk in rows.chunks(size))
    assert np.array(own)[rows.among(np.array(own))].tolist() == wanted


def test_nothing_is_done_without_marks_and_nothing_missing_with_all(short_chunks):
    own = range(1, 90, 2)
    assert np.concatenate([*Pending(own).chunks(4)]).tolist() == list(own)
    assert [*Pending(own, np.ones(len(own), np.uint8)).chunks(4)] == []
    assert [*Pending(range(3, 2)).chunks(4)] == []


def test_an_extraction_goes_on_in_every_chunk(short_chunks, tmp_path):
    data, net, told = FakeData({"train": 83}, bad=[5]), network(), []
    extract_features(net, data, out=tmp_path)
    features = np.array(load_features(tmp_path)["train"].array())
    with open(tmp_path / "train" / "done", "r+b") as file:
        for row in (3, 40, 41, 82):
            file.seek(row)
            file.write(bytes(1))
    data.seen = []
    store = extract_features(net, data, out=tmp_path, progress=lambda *x: told.append(x))
    assert data.seen == [*range(8), *range(40, 48), *range(80, 83)]
    assert told == [("train", 80, 83), ("train", 82, 83), ("train", 83, 83)]
    np.testing.assert_array_equal(store["train"].array(), features)


class Kinds(FakeData):
    """Two labels an image."""

    def labels(self, split):
        return np.arange(2 * self.sizes[split], dtype=np.int8).reshape(-1, 2)


def test_shards_are_merged_chunk_by_chunk(short_chunks, tmp_path):
    data, net = Kinds({"train": 83, "test": 7}, bad=[5]), network()
    for rank in range(3):
        options = ExtractOptions(shared=False)
        extract_features(net, data, options, tmp_path, rank=rank, world_size=3)
    merge_shards(tmp_path)
    store = load_features(tmp_path)
    for split, count in data.sizes.items():
        np.testing.assert_array_equal(store[split].labels, data.labels(split))
        assert store[split].ids[:] == data.ids(split)
        assert np.flatnonzero(~store[split].ok).tolist() == [5]
        with torch.no_grad():
            whole = net.eval()(torch.stack([data.image(i) for i in range(count)])).numpy()
        whole[~store[split].ok] = np.nan
        np.testing.assert_allclose(store[split].array(), whole, rtol=1e-4, atol=1e-5)


# --- memory ----------------------------------------------------------------------------------


class Generated(FakeData):
    """Any number of rows, without a list of anything."""

    def labels(self, split):
        return np.broadcast_to(np.int64(3), self.sizes[split])

    def ids(self, split):
        return _Names()

    def eval_loader(self, split, rank=0, world_size=1, rows=None, batch_size=None):
        for start in range(0, len(rows), batch_size):
            yield SimpleNamespace(index=torch.from_numpy(rows[start : start + batch_size]))

    def finish(self, raw, device):
        return {"views": [torch.zeros(len(raw.index), 3, 2, 2)], "index": raw.index}


class _Names:
    def __getitem__(self, i):
        return str(i)


def peak(count, out, **ranks):
    """Most memory that extraction takes at a time."""
    tracemalloc.start()
    try:
        options = ExtractOptions(batch_size=2048, shared=not ranks)
        data = Generated({"train": count})
        extract_features(nn.Flatten(), data, options, out, **ranks)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("ranks", [{}, {"rank": 1, "world_size": 2}])
def test_memory_is_the_same_for_any_number_of_rows(monkeypatch, tmp_path, ranks):
    monkeypatch.setattr(pending, "CHUNK", 4096)
    monkeypatch.setattr(files, "CHUNK", 4096)
    peak(5_000, tmp_path / "first", **ranks)
    few, many = (peak(n, tmp_path / str(n), **ranks) for n in (20_000, 200_000))
    assert many - few < 100_000  # bytes; an int64 a row would be 1.4 MB
