"""Copies to a device; stand-ins tell what a GPU would do, as none is needed to test the order."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import pytorch_lightning as pl
import torch

from sslight.data import transfer
from sslight.data.batch import RawBatch
from sslight.data.transfer import map_tensors, transferred


class Pinned(torch.Tensor):
    """A tensor that notes what a GPU would be asked for."""

    def to(self, *args, **kwargs):
        LOG.append(("copy", ACTIVE[-1], kwargs.get("non_blocking")))
        return self

    def record_stream(self, stream):
        LOG.append(("used on", stream))


class Stream(str):
    __slots__ = ()

    def wait_stream(self, other):
        LOG.append((self, "waits for", other))


LOG: list[tuple] = []
ACTIVE: list[str] = []
GPU = torch.device("cuda", 0)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch):
    """Stand-ins for torch.cuda's streams."""
    LOG.clear()
    ACTIVE[:] = [Stream("computing")]

    @contextmanager
    def stream(entered):
        ACTIVE.append(entered)
        yield
        ACTIVE.pop()

    monkeypatch.setattr(transfer, "_copy_stream", lambda device: Stream("copying"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: ACTIVE[-1])
    monkeypatch.setattr(torch.cuda, "stream", stream)


def batch():
    return {"views": [torch.ones(2).as_subclass(Pinned)], "bad": [], "n": 3}


def test_a_gpu_copies_beside_what_it_computes(gpu):
    moved = transferred(batch(), GPU)
    assert LOG == [
        ("copy", "copying", True),
        ("computing", "waits for", "copying"),
        ("used on", "computing"),
    ]
    assert moved["n"] == 3
    assert moved["bad"] == []


def test_lightning_asks_for_the_same(gpu):
    """Lightning passes ``non_blocking`` to plain tensors only: a batch has to know by itself."""
    raw = RawBatch(batch())
    moved = pl.strategies.SingleDeviceStrategy("cpu").batch_to_device(raw, GPU)
    assert isinstance(moved, RawBatch)
    assert LOG[0] == ("copy", "copying", True)


def test_on_the_cpu_nothing_is_copied():
    content = {"views": [torch.ones(2), {"inner": torch.zeros(1)}], "word": "kept"}
    moved = transferred(content, torch.device("cpu"))
    assert moved["views"][0] is content["views"][0]
    assert moved["views"][1]["inner"] is content["views"][1]["inner"]
    assert moved["word"] == "kept"


def test_map_tensors_goes_into_lists_and_dicts():
    content = {"a": [torch.ones(1), {"b": torch.ones(1)}], "c": "word", "d": 1}
    doubled = map_tensors(content, lambda x: 2 * x)
    assert doubled["a"][0] == doubled["a"][1]["b"] == 2
    assert (doubled["c"], doubled["d"]) == ("word", 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_values_arrive_on_a_gpu():
    content = {"x": torch.arange(1000.0).pin_memory()}
    moved = transferred(content, GPU)
    assert moved["x"].is_cuda
    assert torch.equal(moved["x"].cpu(), content["x"])
