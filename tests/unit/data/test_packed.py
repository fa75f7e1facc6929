"""Images in one file: every size and memory order, written in parts, read by anyone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sslight.data.packed import PackedImages, PackedWriter, pack


def images() -> list[Tensor | None]:
    draw = torch.Generator().manual_seed(0)
    shapes = [(3, 5, 7), (3, 1, 1), (1, 4, 6), (4, 9, 2), (3, 64, 31)]
    plain = [torch.randint(0, 256, s, dtype=torch.uint8, generator=draw) for s in shapes]
    interleaved = [image.permute(1, 2, 0).contiguous().permute(2, 0, 1) for image in plain]
    return [None, *plain, None, *interleaved, None]


def write(folder: Path, parts: list[list[Tensor | None]]) -> None:
    writer = PackedWriter(folder)
    for part in parts:
        writer.add(*pack(part))
        writer.save()
    writer.finish()
    writer.close()


def same(found: Tensor | None, image: Tensor | None) -> bool:
    if found is None or image is None:
        return found is image
    sides = [d for d in range(3) if image.shape[d] > 1]
    return torch.equal(found, image) and all(found.stride(d) == image.stride(d) for d in sides)


def test_what_comes_out_is_what_went_in(tmp_path: Path) -> None:
    given = images()
    write(tmp_path, [given[:3], given[3:4], given[4:]])
    packed = PackedImages(tmp_path)
    assert len(packed) == len(given)
    for i, image in enumerate(given):
        assert same(packed.read(i), image), i
    assert packed.bytes == (tmp_path / "pixels").stat().st_size
    assert packed.bytes == sum(image.numel() for image in given if image is not None)


def test_what_was_read_may_be_written_to(tmp_path: Path) -> None:
    write(tmp_path, [images()])
    packed = PackedImages(tmp_path)
    first = packed.read(1)
    assert first is not None
    first.zero_()
    assert same(packed.read(1), images()[1])


def test_no_image_at_all(tmp_path: Path) -> None:
    write(tmp_path, [])
    assert len(PackedImages(tmp_path)) == 0


def test_a_writer_goes_on_after_the_last_save(tmp_path: Path) -> None:
    given = images()
    killed = PackedWriter(tmp_path)
    killed.add(*pack(given[:4]))
    killed.save()
    killed.add(*pack(given[4:6]))  # never saved: pixels without rows
    killed.close()
    with open(tmp_path / "rows", "ab") as file:
        file.write(b"half a row")

    writer = PackedWriter(tmp_path)
    assert writer.count == 4
    writer.add(*pack(given[4:]))
    writer.finish()
    writer.close()
    packed = PackedImages(tmp_path)
    assert len(packed) == len(given)
    assert all(same(packed.read(i), image) for i, image in enumerate(given))


def test_rows_without_their_pixels_count_for_nothing(tmp_path: Path) -> None:
    writer = PackedWriter(tmp_path)
    writer.add(*pack(images()))
    writer.save()
    writer.close()
    os.truncate(tmp_path / "pixels", 10)
    again = PackedWriter(tmp_path)
    assert (again.count, again.end) == (0, 0)
    again.close()


def test_an_unfinished_or_damaged_folder_is_refused(tmp_path: Path) -> None:
    writer = PackedWriter(tmp_path)
    writer.add(*pack(images()))
    writer.save()
    with pytest.raises(FileNotFoundError):
        PackedImages(tmp_path)
    writer.finish()
    writer.close()
    meta = json.loads((tmp_path / "meta.json").read_text())
    (tmp_path / "meta.json").write_text(json.dumps({**meta, "format": 0}))
    with pytest.raises(ValueError, match="remove the folder"):
        PackedImages(tmp_path)
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    packed = PackedImages(tmp_path)
    os.truncate(tmp_path / "pixels", meta["bytes"] - 1)
    with pytest.raises(OSError, match="ends before image 11"):
        packed.read(11)
    with pytest.raises(ValueError, match="damaged"):
        PackedImages(tmp_path)
