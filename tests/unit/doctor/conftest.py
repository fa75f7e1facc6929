from __future__ import annotations

import pytest
import torch
from torchvision.io import write_png

from sslight.data.sources.folder import Folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SSLIGHT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def folder(tmp_path):
    """Return a function that writes images into a folder and opens it as a split."""

    def make(name: str, images: dict[str, torch.Tensor | bytes], split: str = "train") -> Folder:
        for path, content in images.items():
            file = tmp_path / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                file.write_bytes(content)
            else:
                write_png(content, str(file))
        source = Folder(tmp_path / name)
        source.split = split
        source.open()
        return source

    return make


@pytest.fixture
def picture():
    """Return a function that draws a picture of noise by its number."""

    def draw(number: int, height: int = 20, width: int = 24) -> torch.Tensor:
        generator = torch.Generator().manual_seed(number)
        return torch.randint(256, (3, height, width), generator=generator, dtype=torch.uint8)

    return draw
