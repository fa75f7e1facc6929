"""Batches whose images are decoded at a fraction of their size, next to whole ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sslight import SSLDataModule
from sslight.augment import Views, ViewSpec
from sslight.augment.reduced import Reduced
from sslight.data.draft import Draft
from sslight.data.limit import Subset
from sslight.data.sources.base import Source
from sslight.data.sources.folder import Folder

KEYS = [(2, i) for i in range(6)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four JPEGs, large and small, a PNG, and a JPEG that breaks off."""
    root = tmp_path_factory.mktemp("images")
    for i, (height, width) in enumerate([(300, 400), (400, 300), (260, 260), (20, 30)]):
        _picture(i, height, width).save(root / f"{i}.jpg", quality=90)
    _picture(4, 300, 300).save(root / "4.png")
    _picture(5, 300, 300).save(root / "5.jpg")
    (root / "5.jpg").write_bytes((root / "5.jpg").read_bytes()[:2000])
    return root


def _picture(seed: int, height: int, width: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def data(root: Path, **options: Any) -> SSLDataModule:
    options = {"views": [ViewSpec(24, count=2, flip=0.5)], "on_error": "replace", **options}
    return SSLDataModule(
        train=Folder(root), test=Folder(root), batch_size=6, workers=0, seed=1, **options
    )


def batch(module: SSLDataModule, keys: list[tuple[int, int]] = KEYS) -> dict[str, Any]:
    dataset = module.view_dataset(module.source("train"), module.maker, replace=True)
    return dataset.__getitems__(keys).content


def test_drafts_change_pixels_of_large_jpegs_and_nothing_else(folder: Path) -> None:
    exact, draft = batch(data(folder)), batch(data(folder, decode="draft"))
    for key in ("index", "label", "ok"):
        assert torch.equal(exact[key], draft[key])
    assert exact["bad"] == draft["bad"]
    assert len(exact["bad"]) == 1
    for one, other in zip(exact["params"], draft["params"], strict=True):
        assert torch.equal(one["crop"], other["crop"])
        assert torch.equal(one["table"], other["table"])
    changed = torch.zeros(6, dtype=torch.bool)
    for one, other in zip(exact["views"], draft["views"], strict=True):
        assert (one.int() - other.int()).abs().float().mean() < 1
        changed |= (one != other).flatten(1).any(1)
    assert changed.tolist()[:5] == [True, True, True, False, False]


def test_drafts_are_the_same_alone_in_a_batch_and_in_workers(folder: Path) -> None:
    module = data(folder, decode="draft")
    whole = batch(module)
    for row, key in enumerate(KEYS):
        alone = batch(module, [key])
        for one, other in zip(alone["views"], whole["views"], strict=True):
            assert torch.equal(one[0], other[row])
    module.workers = 2
    there = [raw.content["views"][0] for raw in module.eval_loader("test", batch_size=2)]
    module.workers = 0
    here = [raw.content["views"][0] for raw in module.eval_loader("test", batch_size=6)]
    assert torch.equal(torch.cat(there), torch.cat(here))


def test_evaluation_is_drafted_too(folder: Path) -> None:
    views = [
        next(iter(data(folder, decode=mode).eval_loader("test"))).content["views"][0]
        for mode in ("exact", "draft")
    ]
    assert not torch.equal(*views)
    assert (views[0].int() - views[1].int()).abs().float().mean() < 1


class Kept(Source):
    """One image, and how often it was asked for by which name."""

    labels = classes = None

    def __init__(self) -> None:
        self.asked: list[str] = []

    def open(self) -> None: ...

    def __len__(self) -> int:
        return 1

    def load(self, i: int) -> Tensor:
        self.asked.append("load")
        return torch.full((3, 300, 300), 7, dtype=torch.uint8)

    def id(self, i: int) -> str:
        return "kept"

    def fingerprint(self) -> str:
        return "kept"


def test_a_source_without_files_gives_whole_images() -> None:
    source = Kept()
    module = SSLDataModule(train=source, views=[ViewSpec(24)], workers=0, decode="draft")
    assert (batch(module, [(0, 0)])["views"][0] == 7).all()
    assert source.asked == ["load"]


def test_a_view_maker_that_says_no_reduction_gets_whole_images(folder: Path) -> None:
    class Own:
        """A maker of a user's own, that wants tensors."""

        specs, n_views, n_global, size = (ViewSpec(8),), 1, 1, 8

        def fetch(self, images: Any, epoch: int, index: Tensor) -> dict[str, Any]:
            assert all(isinstance(image, Tensor) for image in images)
            return {"views": [torch.stack([image[:, :8, :8] for image in images])]}

        def apply(self, batch: dict[str, Any]) -> dict[str, Any]:
            return batch

    exact, draft = (batch(data(folder, views=Own(), decode=d)) for d in ("exact", "draft"))
    assert torch.equal(exact["views"][0], draft["views"][0])


def test_a_part_of_a_source_is_reduced_as_the_source_is(folder: Path) -> None:
    source = data(folder).source("train")
    part = Subset(source, np.array([2, 3]))
    for i, row in enumerate([2, 3]):
        there, here = (s.load_reduced(k, lambda *_: 2) for s, k in ((source, row), (part, i)))
        assert isinstance(here, Draft)
        assert here.image.tobytes() == there.image.tobytes()  # type: ignore[union-attr]


def test_tensors_and_reduced_images_share_a_batch_of_views() -> None:
    picture = _picture(0, 64, 64)
    small: Reduced = Draft(picture.resize((32, 32)), 2, 64, 64)
    whole = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    make = Views([ViewSpec(16), ViewSpec(8, local=True)])
    mixed = make.fetch([small, whole, small], 0, torch.tensor([4, 5, 4]))["views"]
    for view, alone in zip(mixed, make.fetch([whole], 0, torch.tensor([5]))["views"], strict=True):
        assert torch.equal(view[0], view[2])
        assert torch.equal(view[1], alone[0])
    with pytest.raises(ValueError, match="image 1 is"):
        make.fetch([small, whole.float()], 0, torch.tensor([4, 5]))
