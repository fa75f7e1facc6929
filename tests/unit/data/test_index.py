"""The packed index: exact, mapped, cached, safe when several processes build."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest

from sslight.data import index_cache
from sslight.data.index import Index, Packer
from sslight.data.index_cache import cached, reopen
from sslight.data.labelling import LabelColumn


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SSLIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "index"


def packed(*names, **rest):
    packer = Packer()
    packer.extend(os.fsencode(name) for name in names)
    return Index.pack(packer, **rest)


NAMES = ("a.jpg", "", "ü/日本.png", "b" * 300, "\udcff.jpg")


def test_names_come_back_exactly(tmp_path):
    index = packed(*NAMES, labels=np.arange(5), classes=list("abcde"), note=3)
    index.save(tmp_path)
    again = Index.load(tmp_path)
    assert [os.fsdecode(again.name(i)) for i in range(len(again))] == list(NAMES)
    assert again.labels.tolist() == [0, 1, 2, 3, 4]
    assert again.meta["classes"] == list("abcde")
    assert again.meta["note"] == 3
    assert again.meta["fingerprint"] == index.meta["fingerprint"]
    assert not again.arrays["name_bytes"].flags.writeable
    for row in (-1, 5):
        with pytest.raises(IndexError):
            again.name(row)


def test_the_fingerprint_knows_order_names_labels_and_classes():
    prints = {
        packed("a", "b").meta["fingerprint"],
        packed("b", "a").meta["fingerprint"],
        packed("ab", "").meta["fingerprint"],
        packed("a", "b", labels=np.array([0, 1])).meta["fingerprint"],
        packed("a", "b", labels=np.array([1, 0])).meta["fingerprint"],
        packed("a", "b", labels=np.array([0, 1]), classes=["x", "y"]).meta["fingerprint"],
    }
    assert len(prints) == 6
    assert packed("a").meta["fingerprint"] == packed("a", note=1).meta["fingerprint"]


def test_built_once_then_mapped(cache):
    built = []

    def build():
        built.append(1)
        return packed("a", "b")

    first = cached("list", {"k": 1}, build)
    second = cached("list", {"k": 1}, build)
    assert len(built) == 1
    assert first.folder == second.folder
    assert cache in first.folder.parents
    assert cached("list", {"k": 2}, build).folder != first.folder
    assert len(built) == 2


def test_a_stale_index_is_built_again_and_the_old_one_stays_readable():
    old = cached("folder", {}, lambda: packed("a"))
    new = cached("folder", {}, lambda: packed("a", "b"), fresh=lambda index: len(index) == 2)
    assert (len(reopen(old.folder)), len(reopen(new.folder))) == (1, 2)
    assert len(cached("folder", {}, lambda: packed())) == 2


def test_a_damaged_cache_is_built_again(caplog):
    index = cached("list", {}, lambda: packed("a"))
    (index.folder / "name_ends.npy").write_bytes(b"\x93NUMPY")
    with caplog.at_level(logging.WARNING):
        with pytest.raises((OSError, ValueError)):
            Index.load(index.folder)
        again = cached("list", {}, lambda: packed("a", "b"))
    assert len(again) == 2
    assert "is built again" in caplog.text


def test_an_index_of_another_format_is_not_read():
    index = cached("list", {}, lambda: packed("a"))
    path = index.folder / "meta.json"
    stored = json.loads(path.read_text())
    stored["meta"]["format"] = 999
    path.write_text(json.dumps(stored))
    with pytest.raises(ValueError, match="format 999"):
        Index.load(index.folder)


def test_where_the_cache_cannot_be_written(tmp_path, monkeypatch, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("SSLIGHT_CACHE", str(blocked))
    monkeypatch.setattr(index_cache.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    with caplog.at_level(logging.WARNING):
        index = cached("list", {}, lambda: packed("a"))
    assert len(index) == 1
    assert tmp_path / "tmp" in index.folder.parents
    assert "cannot be written" in caplog.text
    assert "SSLIGHT_CACHE" in caplog.text


def test_an_error_while_building_leaves_nothing(cache):
    def build():
        raise ValueError("no image")

    with pytest.raises(ValueError, match="no image"):
        cached("list", {}, build)
    assert len(cached("list", {}, lambda: packed("a"))) == 1
    assert not list(cache.rglob(".unfinished*"))


def test_generations_of_last_month_are_removed():
    old = cached("folder", {}, lambda: packed("a")).folder
    month = time.time() - 31 * 86400
    os.utime(old, (month, month))
    os.utime(old.parent / "current", (month, month))
    index_cache._store(old.parent, packed("b"))
    assert not old.exists()


def _build_slowly(start, queue):
    def build():
        time.sleep(0.3)
        queue.put("built")
        return packed(*(str(i) for i in range(1000)))

    start.wait()
    index = cached("list", {"together": 1}, build)
    queue.put((len(index), str(index.folder)))


def test_processes_that_come_together_build_once():
    context = multiprocessing.get_context("fork")
    start, queue = context.Event(), context.Queue()
    workers = [context.Process(target=_build_slowly, args=(start, queue)) for _ in range(3)]
    for worker in workers:
        worker.start()
    start.set()
    answers = [queue.get(timeout=30) for _ in range(4)]
    for worker in workers:
        worker.join(30)
    assert answers.count("built") == 1
    assert len({a for a in answers if a != "built"}) == 1


def test_a_race_without_locks_leaves_one_good_index(monkeypatch):
    index = packed("a", "b")
    home = Path(os.environ["SSLIGHT_CACHE"])
    home.mkdir()
    first = index_cache._store(home, index)
    monkeypatch.setattr(Path, "exists", lambda self: False)  # the other one came in between
    with pytest.raises(OSError, match="SSLIGHT_CACHE"):
        index_cache._write(first.folder, index)
    monkeypatch.undo()
    assert len(Index.load(first.folder)) == 2
    index_cache._write(first.folder, index)
    assert [p.name for p in home.iterdir() if p.name.startswith(".")] == []


def test_a_large_index_is_small_and_quick_to_open(tmp_path):
    packer = Packer()
    packer.extend(b"train/class_%04d/image_%08d.jpg" % (i % 1000, i) for i in range(200_000))
    Index.pack(packer, labels=np.arange(200_000) % 1000).save(tmp_path)
    index = Index.load(tmp_path)
    assert index.name(123_456) == b"train/class_0456/image_00123456.jpg"
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size < 200_000 * (35 + 8 + 8) + 10_000


def test_label_columns():
    def numbered(*labels, numbers=True):
        column = LabelColumn(numbers)
        for label in labels:
            column.add(label)
        values, classes = column.finish()
        return values.tolist(), classes

    assert numbered("2", "0", "-1", "") == ([2, 0, -1, -1], ["0", "1", "2"])
    assert numbered("dog", "cat", "dog", "-1") == ([1, 0, 1, -1], ["cat", "dog"])
    assert numbered("10", "9", "x") == ([0, 1, 2], ["10", "9", "x"])
    assert numbered("2000000", "-1", "1999999") == ([1, -1, 0], ["1999999", "2000000"])
    assert numbered("01", "1") == ([0, 1], ["01", "1"])
    assert numbered("10", "9", "-1", "", numbers=False) == ([1, 2, 0, -1], ["-1", "10", "9"])
    assert numbered("", "-1") == ([-1, -1], [])


def test_packing_holds_no_object_per_name():
    packer = Packer()
    packer.extend([b"x" * 10] * 100_000)
    assert len(pickle.dumps(packer)) < 100_000 * 19
