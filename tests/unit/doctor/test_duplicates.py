from __future__ import annotations

import pytest
import torch
from torchvision.io import encode_jpeg

from sslight.data.sources.wrap import as_source
from sslight.doctor.duplicates import copies


@pytest.fixture
def splits(folder, picture):
    train = {f"a/{i}.png": picture(i) for i in range(6)} | {"b/again.png": picture(2)}
    test = {"a/new.png": picture(9), "b/x.png": picture(4), "b/empty.png": b""}
    return folder("train", train), folder("test", test, "test")


def test_shared_files_are_found(splits):
    found = copies(*splits, most_files=100, most_decoded=1)
    assert found.pairs == (("a/4.png", "b/x.png"),)
    assert found.inside == 1
    assert found.complete
    assert not found.by_pixels
    assert found.splits == ("train", "test")


def test_a_sample_says_so(splits):
    found = copies(*splits, most_files=2, most_decoded=100)
    assert (found.compared, found.totals) == ((2, 2), (7, 3))
    assert not found.complete


def test_pixels_are_compared_where_there_are_no_files(folder, picture):
    train = as_source([picture(4), picture(5)])
    train.open()
    test = folder("test", {"x.png": picture(4), "broken.png": b"junk"}, "test")
    found = copies(train, test, most_files=1, most_decoded=100)
    assert found.by_pixels
    assert found.pairs == (("list/train/0", "x.png"),)


def test_shape_is_part_of_the_content():
    flat, tall = torch.zeros(3, 2, 8, dtype=torch.uint8), torch.zeros(3, 8, 2, dtype=torch.uint8)
    assert not copies(as_source([flat]), as_source([tall]), 10, 10).pairs


def test_a_jpeg_of_the_same_picture_is_another_file(folder, picture):
    content = bytes(encode_jpeg(picture(1)).numpy())
    train, test = folder("a", {"x.png": picture(1)}), folder("b", {"x.jpg": content}, "test")
    assert not copies(train, test, 10, 10).pairs
