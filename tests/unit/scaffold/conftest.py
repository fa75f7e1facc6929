from __future__ import annotations

import zlib

import pytest
import torch
from torchvision.io import write_png


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSLIGHT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def images(tmp_path):
    """Return a function that writes so many images into a folder."""

    def write(folder: str, count: int, side: int = 24, grey: bool = False) -> None:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            generator = torch.Generator().manual_seed(zlib.crc32(f"{folder}/{number}".encode()))
            pixels = torch.randint(256, (3, side, side + 4), generator=generator)
            pixels = pixels[:1].expand(3, -1, -1) if grey else pixels
            path = tmp_path / folder / f"{number}.png"
            write_png(pixels.to(torch.uint8).contiguous(), str(path))

    return write
