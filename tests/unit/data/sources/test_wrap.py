"""Anyone's dataset as a source."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, TensorDataset
from torch.utils.data import Subset as TorchSubset

from sslight.data.errors import ImageError
from sslight.data.limit import Subset
from sslight.data.sources.fake import Fake
from sslight.data.sources.wrap import Wrapped, as_source

RGB = np.arange(5 * 6 * 3, dtype=np.uint8).reshape(5, 6, 3)
FIRST = torch.from_numpy(RGB).permute(2, 0, 1)


class Items(Dataset):
    def __init__(self, items, **attributes):
        self.items = items
        self.__dict__.update(attributes)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def opened(dataset):
    source = as_source(dataset)
    source.open()
    return source


@pytest.mark.parametrize(
    "item",
    [
        Image.fromarray(RGB),
        RGB,
        RGB.transpose(2, 0, 1),
        FIRST,
        FIRST / 255,
        RGB / 255,
        (Image.fromarray(RGB), 3),
        [FIRST, 3, "more"],
        {"image": RGB, "label": 2},
        {"img": Image.fromarray(RGB)},
    ],
)
def test_every_form_of_an_image_gives_the_same_pixels(item):
    image = opened([item] if not isinstance(item, (list, tuple)) else Items([item])).load(0)
    assert image.dtype == torch.uint8
    assert torch.equal(image, FIRST)


GREY = RGB[..., 0]


@pytest.mark.parametrize("grey", [GREY, GREY[..., None], FIRST[:1], Image.fromarray(GREY)])
def test_grey_becomes_rgb(grey):
    assert torch.equal(opened(Items([grey])).load(0), FIRST[:1].repeat(3, 1, 1))


def test_other_numbers_of_channels_stay():
    assert opened(Items([torch.zeros(7, 4, 4, dtype=torch.uint8)])).load(0).shape == (7, 4, 4)


def test_a_source_stays_itself():
    source = Fake(num_images=2, size=8)
    assert as_source(source) is source


@pytest.mark.parametrize("held", [[0, 2, 1], np.array([0, 2, 1]), torch.tensor([0, 2, 1])])
@pytest.mark.parametrize("name", ["targets", "labels"])
def test_labels_come_from_the_datasets_attribute(name, held):
    source = opened(Items([RGB] * 3, **{name: held}, classes=["a", "b", "c"]))
    assert source.labels.dtype == np.int64
    np.testing.assert_array_equal(source.labels, [0, 2, 1])
    assert source.classes == ["a", "b", "c"]


def test_labels_are_found_inside_torchs_own_datasets():
    labelled = Items([RGB] * 4, targets=[3, 2, 1, 0], classes=list("abcd"))
    part = opened(TorchSubset(labelled, [2, 0]))
    np.testing.assert_array_equal(part.labels, [1, 3])
    assert part.classes == list("abcd")
    both = opened(ConcatDataset([labelled, TorchSubset(labelled, [1])]))
    np.testing.assert_array_equal(both.labels, [3, 2, 1, 0, 2])
    assert both.classes == list("abcd")
    tensors = opened(TensorDataset(FIRST.repeat(2, 1, 1, 1), torch.tensor([4, 5])))
    np.testing.assert_array_equal(tensors.labels, [4, 5])
    assert opened(ConcatDataset([labelled, Items([RGB])])).labels is None


def test_several_labels_per_image():
    source = opened(Items([RGB] * 2, labels=[[1, 0, -1], [0, 0, 1]]))
    assert source.labels.dtype == np.int8
    np.testing.assert_array_equal(source.labels, [[1, 0, -1], [0, 0, 1]])


def test_attributes_that_are_no_labels_are_said_and_left(caplog):
    source = opened(Items([RGB] * 3, labels=["cat", "dog"]))
    assert source.labels is None
    assert "Items.labels is not one integer" in caplog.text
    assert opened(Items([RGB])).labels is None


def test_labels_are_found_without_reading_an_image():
    class Unreadable(Items):
        def __getitem__(self, i):
            raise AssertionError("read")

    assert opened(Unreadable([1, 2], targets=[0, 1])).labels is not None


def test_class_names_that_do_not_cover_the_labels_are_not_used():
    assert opened(Items([RGB] * 2, targets=[0, 5], classes=["a", "b"])).classes is None


def test_random_transforms_ask_to_be_seeded():
    source = as_source(Items([RGB] * 3))
    assert source.random
    assert Subset(source, np.array([1])).random


def test_unreadable_items_are_image_errors(tmp_path):
    class Broken(Items):
        def __getitem__(self, i):
            return Image.open(self.items[i]), 0

    (tmp_path / "a.png").write_bytes(b"nothing")
    whole = tmp_path / "b.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(whole)
    (tmp_path / "c.png").write_bytes(whole.read_bytes()[:2000])
    files = [tmp_path / "a.png", tmp_path / "c.png", tmp_path / "missing.png"]
    source = opened(Broken(files))
    for i in range(3):
        with pytest.raises(ImageError, match=f"Broken/train/{i}"):
            source.load(i)


@pytest.mark.parametrize(
    ("item", "error", "said"),
    [
        (FIRST.float() - 100, ValueError, r"not in \[0, 1\].*normalisation"),
        (torch.full((3, 2, 2), float("nan")), ValueError, "nan"),
        (FIRST.long(), ValueError, "int64"),
        (torch.zeros(1, 3, 4, 4), ValueError, r"shape \(1, 3, 4, 4\)"),
        ((FIRST, FIRST), None, None),
        (([FIRST, FIRST], 0), TypeError, "got list.*views itself"),
        ({"pixels": FIRST}, TypeError, "keys.*pixels.*'image'"),
        ("path.png", TypeError, "got str"),
    ],
)
def test_what_is_not_an_image_is_explained(item, error, said):
    source = opened(Items([item]))
    if error is None:
        assert torch.equal(source.load(0), FIRST)
        return
    with pytest.raises(error, match=said):
        source.load(0)


def test_what_is_not_a_dataset():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(())

    for bad in (Stream(), 3, "folder", iter([1])):
        with pytest.raises(TypeError, match="map-style dataset"):
            as_source(bad)


def test_ids_and_fingerprints():
    source = as_source(Items([RGB] * 3, targets=[0, 1, 0]))
    source.split = "test"
    assert isinstance(source, Wrapped)
    assert source.id(2) == "Items/test/2"
    with pytest.raises(IndexError):
        source.load(3)
    same = as_source(Items([RGB] * 3, targets=[0, 1, 0]))
    other = as_source(Items([RGB] * 3, targets=[0, 1, 1]))
    assert source.fingerprint() == same.fingerprint() != other.fingerprint()
