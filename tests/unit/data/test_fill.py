"""One pass that keeps decoded images: what it refuses, what it says, how it goes on."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sslight.data import fill
from sslight.data.errors import ImageError
from sslight.data.fill import Filling, all_cores, mean_bytes
from sslight.data.packed import PackedImages, PackedWriter, pack
from sslight.data.sources.base import Source
from sslight.errors import RefusedRunError


class Counted(Source):
    """Image i is i + 1 pixels wide; notes which were loaded, and some cannot be."""

    def __init__(self, count: int, bad: tuple[int, ...] = ()) -> None:
        self.count, self.bad, self.loaded = count, bad, list[int]()

    def open(self) -> None: ...

    def __len__(self) -> int:
        return self.count

    def load(self, i: int) -> Tensor:
        self.loaded.append(i)
        if i in self.bad:
            raise ImageError(self.id(i), "it is torn")
        return torch.full((3, 2, i + 1), i % 251, dtype=torch.uint8)

    def id(self, i: int) -> str:
        return f"image_{i}"

    def fingerprint(self) -> str:
        return f"{self.count}"


def said(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(fill, "_SAMPLE", 2)
    monkeypatch.setattr(fill, "_CHUNK", 100)
    caplog.set_level(logging.INFO, logger="sslight")


@pytest.mark.parametrize("workers", [0, 2])
def test_every_image_is_kept_in_order(tmp_path: Path, workers: int) -> None:
    before = torch.get_rng_state()
    Filling(Counted(20), tmp_path, "there", workers).run()
    assert torch.equal(torch.get_rng_state(), before)
    packed = PackedImages(tmp_path)
    assert len(packed) == 20
    for i in range(20):
        found = packed.read(i)
        assert found is not None
        assert torch.equal(found, Counted(20).load(i))


def test_unreadable_images_are_named_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = (0, 3, 19)  # of the sample, too
    Filling(Counted(20, bad), tmp_path, "there", 0).run()
    packed = PackedImages(tmp_path)
    assert [i for i in range(20) if packed.read(i) is None] == list(bad)
    assert "data.train: these images cannot be read: image_0: it is torn; image_3" in said(caplog)


def test_many_unreadable_images_are_not_all_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Filling(Counted(50, tuple(range(40))), tmp_path, "there", 0).run()
    assert "images (the first ten) cannot be read" in said(caplog)
    assert said(caplog).count("torn") == 10


def test_nothing_can_be_read(tmp_path: Path) -> None:
    Filling(Counted(5, tuple(range(5))), tmp_path, "there", 0).run()
    assert PackedImages(tmp_path).bytes == 0


@pytest.mark.parametrize(("where", "free"), [("ram", "free_in_memory"), ("there", "free_on_disk")])
def test_too_little_room_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, free: str
) -> None:
    source = Counted(1000)
    monkeypatch.setattr(fill, free, lambda folder: 3_000_000)
    with pytest.raises(RefusedRunError) as refused:
        Filling(source, tmp_path, where, 0).run()
    for word in ("data.train", "1,000 images", "about 3 MB", "3 MB free", "data.cache_side"):
        assert word in str(refused.value)
    assert len(source.loaded) == 2
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 0
    monkeypatch.setattr(fill, free, lambda folder: 3_300_000)
    Filling(source, tmp_path, where, 0).run()


def test_room_that_is_gone_in_the_middle_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: PackedWriter, pixels: Tensor, rows: Tensor) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PackedWriter, "add", full)
    (tmp_path / "x").mkdir()
    with pytest.raises(RefusedRunError, match=r"No space left.*data\.cache"):
        Filling(Counted(20), tmp_path / "x", "there", 0).run()
    assert not (tmp_path / "x").exists()


def test_it_goes_on_where_it_was_stopped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = PackedWriter(tmp_path)
    writer.add(*pack([Counted(20).load(i) for i in range(12)]))
    writer.save()
    writer.close()
    source = Counted(20)
    Filling(source, tmp_path, "there", 0).run()
    assert source.loaded == [0, 19, *range(12, 20)]  # the sample, then the rest
    assert len(PackedImages(tmp_path)) == 20
    assert "12 are there already" in said(caplog)


def test_an_interrupted_pass_keeps_what_it_has(tmp_path: Path) -> None:
    class Interrupted(Counted):
        def load(self, i: int) -> Tensor:
            if i == 15:
                raise KeyboardInterrupt
            return super().load(i)

    with pytest.raises(KeyboardInterrupt):
        Filling(Interrupted(20), tmp_path, "there", 0).run()
    writer = PackedWriter(tmp_path)
    assert 10 <= writer.count <= 15
    writer.close()


def test_progress_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fill, "_EVERY", 0.0)
    Filling(Counted(20), tmp_path, "there", 0).run()
    text = said(caplog)
    assert "data.train: decoding 20 images into there, about 1.26 kB" in text
    assert "of 20 images decoded" in text
    assert "20 of 20 images decoded" in text
    assert "1.26 kB are kept" in text


def test_sizes_are_estimated_from_a_sample() -> None:
    assert mean_bytes(Counted(9)) == (6 + 54) / 2
    assert mean_bytes(Counted(9, bad=(0,))) == 54
    assert mean_bytes(Counted(0)) == 0


@pytest.mark.parametrize(("usable", "workers"), [(1, 1), (4, 4), (128, 32)])
def test_a_worker_for_each_core_that_may_be_used(
    monkeypatch: pytest.MonkeyPatch, usable: int, workers: int
) -> None:
    monkeypatch.setattr(fill, "usable_cores", lambda: usable)
    assert all_cores() == workers
