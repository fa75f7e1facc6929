"""Kept images: of every kind of source what it gives itself, in every process."""

from __future__ import annotations

import csv
import logging
import multiprocessing
import os
import pickle
import shutil
import signal
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sslight import SSLDataModule, registry
from sslight.data import fill, shelf
from sslight.data.decoded import Decoded, decoded_in, shrink
from sslight.data.errors import ImageError
from sslight.data.limit import Subset
from sslight.data.sources import shapes
from sslight.data.sources.base import Source
from sslight.data.sources.fake import Fake
from sslight.data.sources.filelist import FileList
from sslight.data.sources.folder import Folder
from sslight.data.sources.hf import HF
from sslight.data.sources.shapes import Shapes
from sslight.data.sources.tar import Tar
from sslight.data.sources.torchvision import TorchVision
from sslight.data.sources.wrap import as_source
from sslight.errors import RefusedRunError

FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSLIGHT_CACHE", str(tmp_path / "index"))
    (tmp_path / "shm").mkdir()
    monkeypatch.setattr(shelf, "MEMORY", tmp_path / "shm")
    return tmp_path / "shm"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Images of odd sizes and modes in two classes, and files that are none."""
    root, draw = tmp_path / "images", np.random.default_rng(0)

    def noise(*shape: int) -> np.ndarray:
        return draw.integers(0, 256, shape, dtype=np.uint8)

    for name in "cat", "dog":
        (root / name).mkdir(parents=True)
    Image.fromarray(noise(5, 7, 3)).save(root / "cat" / "odd.png")
    Image.fromarray(noise(3, 6)).save(root / "cat" / "grey.png")
    Image.fromarray(noise(1, 1, 3)).save(root / "cat" / "one.png")
    Image.fromarray(noise(5, 4, 4)).save(root / "dog" / "alpha.png")
    Image.fromarray(noise(31, 40, 3)).save(root / "dog" / "photo.jpg")
    Image.fromarray(noise(31, 40)).save(root / "dog" / "grey.jpg")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(noise(20, 9, 3)).save(root / "dog" / "turned.jpg", exif=turned)
    (root / "cat" / "empty.jpg").write_bytes(b"")
    (root / "dog" / "text.jpg").write_text("no image")
    cut = (root / "dog" / "photo.jpg").read_bytes()
    (root / "dog" / "cut.jpg").write_bytes(cut[: len(cut) // 2])
    (root / "dog" / "gone.jpg").symlink_to(root / "nowhere")
    return root


def paths(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if not path.is_dir())


def a_list(root: Path) -> Source:
    with open(root.parent / "list.csv", "w", newline="") as file:
        rows = [(str(path), path.parent.name) for path in paths(root)]
        csv.writer(file).writerows([("path", "label"), *rows])
    return FileList(root.parent / "list.csv")


def a_tar(root: Path) -> Source:
    with tarfile.open(root.parent / "shard.tar", "w") as tar:
        for path in paths(root):
            if path.exists():
                tar.add(path, str(path.relative_to(root)))
    return Tar(root.parent / "shard.tar")


def an_hf(root: Path) -> Source:
    class Rows(list[Any]):
        _fingerprint = "9f"
        features = {"image": type("Image", (), {})()}  # noqa: RUF012

        def select_columns(self, names: list[str]) -> Rows:
            return self

        def cast_column(self, name: str, kind: object) -> Rows:
            return self

    cells = [{"bytes": p.read_bytes(), "path": None} if p.exists() else None for p in paths(root)]
    rows = Rows([{"image": cell} for cell in cells])
    package = ModuleType("datasets")
    package.load_dataset = lambda *_, **__: rows  # type: ignore[attr-defined]
    package.Image = SimpleNamespace  # type: ignore[attr-defined]
    sys.modules["datasets"] = package
    return HF("user/pets")


def a_torchvision(root: Path) -> Source:
    return TorchVision("ImageFolder", root)


SOURCES: dict[str, Callable[[Path], Source]] = {
    "fake": lambda root: Fake(5, size=9, channels=2),
    "filelist": a_list,
    "folder": Folder,
    "hf": an_hf,
    "shapes": lambda root: Shapes(20, size=8),
    "tar": a_tar,
    "torchvision": a_torchvision,
}


def test_every_kind_of_source_is_tried() -> None:
    assert sorted(SOURCES) == sorted(registry.names("source"))


def outcome(source: Source, i: int) -> Tensor | str:
    try:
        return source.load(i)
    except ImageError as error:
        return str(error)


def assert_alike(found: Source, source: Source) -> None:
    assert len(found) == len(source) > 0
    assert found.fingerprint() == source.fingerprint()
    assert found.classes == source.classes
    np.testing.assert_array_equal(found.labels, source.labels)  # type: ignore[arg-type]
    for i in range(len(source)):
        assert found.id(i) == source.id(i)
        assert found.stamp(i) == source.stamp(i)
        assert found.file(i) == source.file(i) if source.stamp(i)[:4] != "miss" else True
        mine, theirs = outcome(found, i), outcome(source, i)
        assert type(mine) is type(theirs)
        if isinstance(mine, Tensor) and isinstance(theirs, Tensor):
            assert torch.equal(mine, theirs)
            assert mine.dtype == torch.uint8
            assert mine.is_contiguous() == theirs.is_contiguous()
        else:
            assert mine == theirs
    for i in (-1, len(source)):
        with pytest.raises(IndexError):
            found.load(i)


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("cache", ["ram", "kept"])
def test_image_for_image_the_source(
    kind: str, cache: str, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "_KEPT", 0)
    monkeypatch.setitem(sys.modules, "datasets", ModuleType("datasets"))
    source = SOURCES[kind](files)
    source.open()
    kept = Decoded(source, cache if cache == "ram" else tmp_path / "kept")
    assert_alike(kept, source)
    kept.fill(0)
    assert kept._images is not None
    assert len(kept._images) == len(source)
    assert_alike(kept, source)
    kept.release()
    assert_alike(kept, source)


def opened_folder(files: Path) -> Folder:
    source = Folder(files)
    source.open()
    return source


def test_what_is_kept_needs_no_file(files: Path, tmp_path: Path) -> None:
    source = opened_folder(files)
    kept = Decoded(source, tmp_path / "kept")
    kept.fill(2)
    before = [outcome(source, i) for i in range(len(source))]
    assert sum(isinstance(image, Tensor) for image in before) == 7
    shutil.rmtree(files)
    for i, image in enumerate(before):
        if isinstance(image, Tensor):
            assert torch.equal(kept.load(i), image)
        else:
            with pytest.raises(ImageError, match="cannot be read"):
                kept.load(i)


@pytest.mark.parametrize("on_error", ["raise", "replace", "skip"])
def test_unreadable_images_are_treated_as_without(
    files: Path, tmp_path: Path, on_error: Any
) -> None:
    def batches(cache: str | None) -> list[Any]:
        options: dict[str, Any] = {"views": "simclr", "batch_size": 4, "workers": 0}
        data = SSLDataModule(test=Folder(files), on_error=on_error, cache=cache, **options)
        data.splits.fill(["test"], 0)
        try:
            raws = [data.finish(raw, "cpu") for raw in data.eval_loader("test")]
        except ImageError as error:
            return [str(error)]
        words = sorted(data.bad_images.counts.items())
        return [words, *(raw["ok"].tolist() for raw in raws), *(raw["views"][0] for raw in raws)]  # type: ignore[typeddict-item]

    for one, other in zip(batches(None), batches(str(tmp_path / "kept")), strict=True):
        assert torch.equal(one, other) if isinstance(one, Tensor) else one == other


def test_a_part_of_a_source_keeps_that_part(files: Path, tmp_path: Path) -> None:
    source = opened_folder(files)
    rows = [i for i in range(len(source)) if isinstance(outcome(source, i), Tensor)][1:4]
    part = Subset(source, np.array(rows))
    kept = Decoded(part, tmp_path / "kept")
    kept.fill(0)
    assert_alike(kept, part)
    assert len(list((tmp_path / "kept").glob("folder-*"))) == 1  # named after the kind of files
    assert decoded_in(Subset(kept, np.array([0]))) is kept
    assert decoded_in(part) is None


def test_labels_follow_another_split(files: Path, tmp_path: Path) -> None:
    kept = Decoded(opened_folder(files), tmp_path / "kept")
    kept.fill(0)
    kept.align(["ant", "cat", "dog"])
    assert kept.classes == ["ant", "cat", "dog"]
    assert kept.labels is not None
    assert set(kept.labels.tolist()) == {1, 2}
    assert pickle.loads(pickle.dumps(kept)).labels.tolist() == kept.labels.tolist()


# ------------------------------------------------------------------ found again, or not


def found(source: Source, folder: Path, side: int | None = None) -> bool:
    kept = Decoded(source, folder, side)
    kept.attach()
    return kept._images is not None


def test_the_next_run_finds_it(files: Path, tmp_path: Path) -> None:
    assert not found(opened_folder(files), tmp_path / "kept")
    Decoded(opened_folder(files), tmp_path / "kept").fill(0)
    assert found(opened_folder(files), tmp_path / "kept")
    assert not found(opened_folder(files), tmp_path / "other")
    assert not found(opened_folder(files), tmp_path / "kept", side=4)
    moved = tmp_path / "moved"
    shutil.copytree(files, moved, symlinks=True)  # with the files' times
    assert found(opened_folder(moved), tmp_path / "kept")
    (moved / "cat" / "odd.png").touch()
    assert not found(opened_folder(moved), tmp_path / "kept")


def test_files_are_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(Fake, "stamp", lambda self, i: asked.append(i) or "")
    kept = Decoded(Fake(9, size=4), tmp_path / "kept")
    for _ in range(3):
        kept.attach()
    kept.fill(0)
    kept.release()
    kept.fill(0)
    assert sorted(asked) == list(range(9))


@pytest.mark.parametrize("kind", ["folder", "filelist", "tar", "torchvision"])
def test_a_file_that_was_replaced_is_noticed(kind: str, files: Path, tmp_path: Path) -> None:
    def source() -> Source:
        made = SOURCES[kind](files)
        made.open()
        return made

    Decoded(source(), tmp_path / "kept").fill(0)
    Image.new("RGB", (5, 7), (1, 2, 3)).save(files / "cat" / "odd.png")
    made = source()
    assert not found(made, tmp_path / "kept")
    again = Decoded(made, tmp_path / "kept")
    again.fill(0)
    assert_alike(again, made)


def test_another_limit_on_pixels_is_noticed(files: Path, tmp_path: Path) -> None:
    Decoded(opened_folder(files), tmp_path / "kept").fill(0)
    strict = Folder(files, max_pixels=50)
    strict.open()
    assert not found(strict, tmp_path / "kept")


def test_damage_is_said_with_the_way_out(files: Path, tmp_path: Path) -> None:
    kept = Decoded(opened_folder(files), tmp_path / "kept")
    kept.fill(0)
    (pixels,) = (tmp_path / "kept").glob("*/pixels")
    sent = pickle.dumps(kept)
    os.truncate(pixels, 100)
    with pytest.raises(RefusedRunError, match=r"folder-\w+ are damaged; remove the folder"):
        found(opened_folder(files), tmp_path / "kept")
    shutil.rmtree(pixels.parent)
    with pytest.raises(FileNotFoundError, match=r"data\.train are gone from .*folder-"):
        pickle.loads(sent)


# ------------------------------------------------------------------ smaller images


def test_long_images_are_scaled_down() -> None:
    image = torch.randint(0, 256, (3, 40, 60), dtype=torch.uint8)
    assert shrink(image, 20).shape == (3, 20, 30)
    assert shrink(image.mT, 20).shape == (3, 30, 20)
    assert shrink(image, 40) is image
    assert shrink(image, None) is image
    flat = torch.full((3, 41, 90), 7, dtype=torch.uint8)
    assert torch.equal(shrink(flat, 20), torch.full((3, 20, 43), 7, dtype=torch.uint8))


def test_scaled_images_are_the_same_kept_or_not(files: Path, tmp_path: Path) -> None:
    source = opened_folder(files)
    kept, plain = Decoded(source, tmp_path / "kept", side=8), Decoded(source, None, side=8)
    kept.fill(0)
    plain.fill(0)
    assert plain._images is None
    assert_alike(kept, plain)
    assert kept.fingerprint() != source.fingerprint()
    sizes = {
        min(x.shape[1:]) for i in range(len(kept)) if isinstance(x := outcome(kept, i), Tensor)
    }
    assert sizes == {1, 3, 4, 5, 8}


# ------------------------------------------------------------------ what is not kept


class Items(Dataset[Any]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> Tensor:
        return torch.full((3, 4, 4), int(torch.randint(100, ())), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("made", "why"), [(Shapes(4, size=8), "in memory"), (as_source(Items()), "others at each load")]
)
def test_what_gains_nothing_is_passed_through(
    made: Source, why: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made.open()
    kept = Decoded(made, tmp_path / "kept")
    assert (kept.random, kept.in_memory) == (made.random, made.in_memory)
    with caplog.at_level(logging.INFO, logger="sslight"):
        kept.fill(0)
    (line,) = (record.getMessage() for record in caplog.records)
    assert "data.train: data.cache is not used" in line
    assert why in line
    assert not (tmp_path / "kept").exists()
    assert not found(made, tmp_path / "kept")


# ------------------------------------------------------------------ processes


class Slow(Fake):
    """Notes every image that any process decodes, and may die at one."""

    deadly: int | None = None

    def load(self, i: int) -> Tensor:
        with open(os.environ["SSLIGHT_NOTES"], "a") as file:
            file.write(f"{i}\n")
        if i == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().load(i)


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[int]]:
    monkeypatch.setenv("SSLIGHT_NOTES", str(tmp_path / "notes"))
    monkeypatch.setattr(fill, "_SAMPLE", 1)
    return lambda: [int(line) for line in (tmp_path / "notes").read_text().split()]


def _fill_and_read(cache: str | Path, start: Any, answers: Any) -> None:
    kept = Decoded(Slow(30, size=8), cache)
    start.wait()
    kept.fill(0)
    answers.put([int(kept.load(i).sum()) for i in range(30)])
    start.wait()


@pytest.mark.parametrize("cache", ["ram", "kept"])
def test_processes_that_come_together_decode_once(
    cache: str, tmp_path: Path, notes: Callable[[], list[int]], memory: Path
) -> None:
    start, answers = FORK.Barrier(4), FORK.Queue()
    place = cache if cache == "ram" else tmp_path / "kept"
    ranks = [FORK.Process(target=_fill_and_read, args=(place, start, answers)) for _ in range(3)]
    for rank in ranks:
        rank.start()
    start.wait(30)
    sums = [answers.get(timeout=30) for _ in ranks]
    start.wait(30)
    for rank in ranks:
        rank.join(30)
        assert rank.exitcode == 0
    expected = [int(Fake(30, size=8).load(i).sum()) for i in range(30)]
    assert sums == [expected] * 3
    assert sorted(notes()) == [0, *range(30)]  # the sample, and each image


def _fill_until_killed(cache: Path | str) -> None:
    source = Slow(30, size=8)
    source.deadly = 20
    fill._CHUNK, fill._EVERY = 400, 0.0  # type: ignore[attr-defined]
    Decoded(source, cache).fill(0)


@pytest.mark.parametrize("cache", ["ram", "kept"])
def test_a_fill_that_was_killed(
    cache: str, tmp_path: Path, notes: Callable[[], list[int]], memory: Path
) -> None:
    place = cache if cache == "ram" else tmp_path / "kept"
    child = FORK.Process(target=_fill_until_killed, args=(place,))
    child.start()
    child.join(30)
    assert child.exitcode == -signal.SIGKILL
    assert not found(Slow(30, size=8), place)
    (tmp_path / "notes").unlink()
    source = Slow(30, size=8)
    kept = Decoded(source, place)
    kept.fill(0)
    assert notes() == [0, *range(0 if cache == "ram" else 20, 30)]  # the disk remembers
    assert_alike(kept, source)
    kept.release()
    assert list(memory.glob("sslight-*/fake-*")) + list(memory.glob("sslight-*/slow-*")) == []


def test_a_refused_fill_takes_no_memory(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fill, "free_in_memory", lambda folder: 10)
    with pytest.raises(RefusedRunError, match="memory has 10 bytes free"):
        Decoded(Fake(30, size=8), "ram").fill(0)
    assert list(memory.glob("sslight-*/fake-*")) == []


class _Grown(Dataset[int]):
    """Loads everything, a hundred images at a time, and says by how much private memory grew."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __len__(self) -> int:
        return 1

    def __getitem__(self, i: int) -> int:
        self.source.load(0)
        before = private()
        for row in range(len(self.source)):
            self.source.load(row)
        return private() - before


def private() -> int:
    """Bytes that this process shares with no other."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private"))


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells it")
@pytest.mark.parametrize("how", ["fork", "pickle"])
def test_workers_hold_none_of_it(how: str, tmp_path: Path) -> None:
    kept = Decoded(Fake(300, size=160), "ram")  # 23 MB
    kept.fill(2)
    assert len(pickle.dumps(kept)) < 10_000
    source = kept if how == "fork" else pickle.loads(pickle.dumps(kept))
    loader = DataLoader(_Grown(source), num_workers=1, multiprocessing_context="fork")
    (grown,) = loader
    assert int(grown) < 4_000_000
    del source
    assert_alike(pickle.loads(pickle.dumps(kept)), kept)
