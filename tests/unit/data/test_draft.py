"""JPEGs decoded at a fraction of their size: the right pixels, the right way up."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from sslight.data.decode import decode, decode_reduced
from sslight.data.draft import Draft, draft


def smooth(height, width):
    """A gradient of all three channels: a region tells where it was cut."""
    y, x = np.mgrid[:height, :width]
    channels = [x * 200 / width + 20, y * 200 / height + 20, (x + y) * 200 / (width + height)]
    return np.stack(channels, -1).astype(np.uint8)


def jpeg(pixels, orientation=1, **options):
    exif = Image.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, "JPEG", **{"quality": 95, "exif": exif, **options})
    return file.getvalue()


def reduced(data, factor):
    return decode_reduced(data, "image", lambda height, width: factor)


def apart(one, other):
    return (one.int() - other.int()).abs().max().item()


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_region_is_where_it_is_in_the_full_image(factor, orientation):
    data = jpeg(smooth(96, 160), orientation)
    full, small = decode(data), reduced(data, factor)
    assert isinstance(small, Draft)
    assert small.factor == factor
    assert small.shape == tuple(full.shape)
    top, left, tall, wide = 13, 21, 41, 37
    region = full[:, top : top + tall, left : left + wide].unsqueeze(0)
    expected = torch.nn.functional.interpolate(region, (5, 4), mode="bilinear", antialias=True)[0]
    found = small.resized((top, left, tall, wide), 5, 4, "bilinear")
    assert found.dtype == torch.uint8
    assert apart(found, expected) <= 4  # a pixel of the reduced image is worth up to 16


def test_edges_between_pixels_are_not_rounded():
    small = reduced(jpeg(smooth(96, 160)), 8)
    lefts = [small.resized((0, left, 64, 64), 1, 1, "bilinear")[0].item() for left in range(9)]
    assert lefts == sorted(lefts)
    assert len(set(lefts)) >= 8


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (smooth(64, 96), {"progressive": True}),
        (smooth(64, 96), {"subsampling": 0}),
        (smooth(64, 96)[..., 0], {}),
        (smooth(61, 93), {}),
    ],
    ids=["progressive", "4:4:4", "grey", "odd sides"],
)
def test_every_ordinary_jpeg_is_reduced(pixels, options):
    data = jpeg(pixels, **options)
    full, small = decode(data), reduced(data, 4)
    assert isinstance(small, Draft)
    assert (small.image.height, small.image.width) == (16, -(-pixels.shape[1] // 4))
    box = (0, 0, *full.shape[1:])
    expected = torch.nn.functional.interpolate(
        full.unsqueeze(0), (8, 8), mode="bicubic", antialias=True
    )
    assert apart(small.resized(box, 8, 8, "bicubic"), expected[0]) <= 4


def test_the_pictures_of_a_phone_that_hold_several_are_reduced():
    file = io.BytesIO()
    first, second = (Image.fromarray(smooth(64, 96)) for _ in range(2))
    first.save(file, "MPO", save_all=True, append_images=[second])
    assert isinstance(reduced(file.getvalue(), 2), Draft)


def test_a_turned_image_is_divided_only_where_nothing_is_left_over():
    assert reduced(jpeg(smooth(60, 96), orientation=6), 8).factor == 4
    assert isinstance(reduced(jpeg(smooth(61, 96), orientation=6), 8), torch.Tensor)
    assert reduced(jpeg(smooth(61, 96)), 8).factor == 8


def test_what_cannot_be_drafted_is_not():
    with Image.open(io.BytesIO(jpeg(smooth(16, 16)))) as image:
        assert draft(image, 1, 1) is None
    file = io.BytesIO()
    Image.fromarray(smooth(16, 16)).save(file, "PNG")
    with Image.open(file) as image:
        assert draft(image, 2, 1) is None
