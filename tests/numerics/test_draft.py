"""How far a view changes when its image is decoded at a fraction of its size.

The yardstick is a choice that nobody thinks twice about: bicubic in place of bilinear
interpolation. `pytest -s tests/numerics/test_draft.py` prints the figures of docs/data.md.
"""

from __future__ import annotations

import io
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sslight.augment import Views, ViewSpec
from sslight.data.decode import decode, decode_reduced


def changes(files: list[bytes], spec: ViewSpec) -> tuple[Tensor, Tensor, int]:
    """Absolute differences from exact views: of drafts, of bicubic ones; images reduced."""
    make, index = Views([spec], seed=3), torch.arange(len(files))
    whole = [decode(file) for file in files]
    drafts = [
        decode_reduced(file, "", partial(make.reduction, 0, i)) for i, file in enumerate(files)
    ]
    is_draft = torch.tensor([not isinstance(image, Tensor) for image in drafts])
    bicubic = Views([replace(spec, interpolation="bicubic")], seed=3)
    exact, draft, other = (
        torch.stack(maker.fetch(images, 0, index)["views"]).int()
        for maker, images in ((make, whole), (make, drafts), (bicubic, whole))
    )
    assert torch.equal(exact[:, ~is_draft], draft[:, ~is_draft])  # undivided: bit for bit
    of_drafts, of_bicubic = (draft - exact).abs(), (other - exact).abs()
    return of_drafts[:, is_draft].float(), of_bicubic[:, is_draft].float(), int(is_draft.sum())


def told(change: Tensor) -> tuple[float, float]:
    """Mean and 99.9th percentile."""
    return float(change.mean()), float(np.percentile(change.numpy(), 99.9))


SPECS = [
    *(ViewSpec(size, count=2) for size in (32, 64, 96)),
    *(ViewSpec(size, crop="center") for size in (32, 64, 96, 128)),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.crop}-{spec.size}")
def test_views_of_photos_change_less_than_by_the_choice_of_interpolation(
    real_images: Path, spec: ViewSpec
) -> None:
    files = [path.read_bytes() for path in sorted((real_images / "photos").glob("*.JPEG"))]
    draft, bicubic, reduced = changes(files, spec)
    (mean, high), (yardstick, _) = told(draft), told(bicubic)
    print(
        f"\n{spec.crop} {spec.size}: {reduced} reduced, mean {mean:.2f}, 99.9 % {high:.0f}", end=""
    )
    print(f"; bicubic for bilinear: mean {yardstick:.2f}")
    assert reduced > len(files) // 3
    assert mean < yardstick
    assert mean < 2
    assert high < 25


@pytest.mark.parametrize("crop", ["random", "center"])
def test_views_of_12_megapixels_hardly_change(crop: str) -> None:
    draft, _, reduced = changes([large(seed) for seed in range(2)], ViewSpec(224, crop=crop))
    mean, high = told(draft)
    print(f"\n12 megapixels, {crop}: {reduced} reduced, mean {mean:.2f}, 99.9 % {high:.0f}")
    assert reduced == 2
    assert mean < 1
    assert high < 12


def large(seed: int) -> bytes:
    """A JPEG of 12 megapixels that is smooth over some fifty pixels."""
    coarse = np.random.default_rng(seed).integers(0, 256, (63, 84, 3), dtype=np.uint8)
    file = io.BytesIO()
    picture = Image.fromarray(coarse).resize((4032, 3024), Image.Resampling.BICUBIC)
    picture.save(file, "JPEG", quality=90)
    return file.getvalue()


def test_rounding_regions_to_pixels_would_be_seen(real_images: Path) -> None:
    """The bound above is one that a region half a pixel off does not keep."""
    files = [path.read_bytes() for path in sorted((real_images / "photos").glob("*.JPEG"))[:40]]
    make, index = Views([ViewSpec(64)], seed=3), torch.arange(40)
    drafts = [decode_reduced(f, "", partial(make.reduction, 0, i)) for i, f in enumerate(files)]
    exact = make.fetch([decode(file) for file in files], 0, index)["views"][0].int()
    rounded = make.fetch([Rounded(image) for image in drafts], 0, index)["views"][0].int()
    assert (rounded - exact).abs().float().mean() > 2


class Rounded:
    """A reduced image whose regions are moved to whole pixels."""

    def __init__(self, image: object) -> None:
        self.image, self.shape = image, image.shape  # type: ignore[attr-defined]

    def resized(self, box: list[int], height: int, width: int, how: str) -> Tensor:
        if isinstance(self.image, Tensor):
            top, left, tall, wide = box
            region = self.image[:, top : top + tall, left : left + wide].unsqueeze(0)
            return torch.nn.functional.interpolate(
                region, (height, width), mode=how, antialias=True
            )[0]
        factor = self.image.factor  # type: ignore[attr-defined]
        edges = [box[0], box[1], box[0] + box[2], box[1] + box[3]]
        top, left, bottom, right = (round(edge / factor) * factor for edge in edges)
        whole = (top, left, bottom - top, right - left)
        return self.image.resized(whole, height, width, how)  # type: ignore[attr-defined]
