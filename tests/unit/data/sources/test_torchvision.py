"""torchvision's datasets, written to disk in their own formats."""

import pickle
from typing import ClassVar

import numpy as np
import pytest
import torch
import torchvision.datasets as tv
from PIL import Image

from sslight.data.errors import ImageError
from sslight.data.sources.torchvision import TorchVision

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def draw(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def opened(split="train", **options):
    source = TorchVision(**options)
    source.split = split
    source.open()
    return source


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    """Six training images in five files, and two of test, as CIFAR-10's python version has them."""
    monkeypatch.setattr(tv.cifar, "check_integrity", lambda *_: True)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    images, labels = draw(8, 3, 32, 32), [3, 1, 9, 0, 4, 4, 7, 2]
    files = {f"data_batch_{k}": [k - 1] for k in range(1, 5)}
    for name, rows in {**files, "data_batch_5": [4, 5], "test_batch": [6, 7]}.items():
        entry = {"data": images[rows].reshape(-1, 3072), "labels": [labels[r] for r in rows]}
        (folder / name).write_bytes(pickle.dumps(entry))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": CLASSES}))
    return tmp_path, images, labels


def test_cifar10_is_served_from_memory(cifar10, monkeypatch):
    root, images, labels = cifar10
    monkeypatch.setattr(tv.CIFAR10, "__getitem__", None)  # no round trip over PIL
    train = opened(dataset="CIFAR10", root=root)
    test = opened("test", dataset="cifar10", root=str(root))
    assert (len(train), len(test)) == (6, 2)
    np.testing.assert_array_equal(train.labels, labels[:6])
    np.testing.assert_array_equal(test.labels, labels[6:])
    assert train.classes == test.classes == CLASSES
    for i in range(6):
        assert torch.equal(train.load(i), torch.from_numpy(images[i]))
    assert torch.equal(test.load(1), torch.from_numpy(images[7]))
    assert (train.id(5), test.id(0)) == ("CIFAR10/train/5", "cifar10/test/0")
    with pytest.raises(IndexError, match="image 6 of 6"):
        train.load(6)


def test_a_pickled_copy_has_the_same_rows(cifar10):
    train = opened(dataset="CIFAR10", root=cifar10[0])
    copy = pickle.loads(pickle.dumps(train))
    assert torch.equal(copy.load(2), train.load(2))
    assert copy.fingerprint() == train.fingerprint()


def test_the_fingerprint_tells_content_not_place(cifar10, tmp_path_factory):
    root, _, _ = cifar10
    moved = tmp_path_factory.mktemp("moved") / "data"
    train, test = (opened(s, dataset="CIFAR10", root=root) for s in ("train", "test"))
    root.rename(moved)
    assert opened(dataset="CIFAR10", root=moved).fingerprint() == train.fingerprint()
    assert test.fingerprint() != train.fingerprint()


@pytest.fixture
def mnist(tmp_path):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    images, labels = draw(3, 28, 28), np.array([7, 0, 3], np.uint8)
    for part, n in (("train", 3), ("t10k", 1)):
        head = b"\0\0\x08\x03" + np.array([n, 28, 28], ">i4").tobytes()
        (folder / f"{part}-images-idx3-ubyte").write_bytes(head + images[:n].tobytes())
        head = b"\0\0\x08\x01" + np.array([n], ">i4").tobytes()
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(head + labels[:n].tobytes())
    return tmp_path, images, labels


def test_mnist_becomes_rgb(mnist):
    root, images, labels = mnist
    train = opened(dataset="MNIST", root=root)
    np.testing.assert_array_equal(train.labels, labels)
    assert train.classes[7] == "7 - seven"
    image = train.load(2)
    assert image.dtype == torch.uint8
    assert torch.equal(image, torch.from_numpy(images[2]).repeat(3, 1, 1))
    assert len(opened("test", dataset="MNIST", root=root)) == 1


def test_a_split_that_a_train_flag_cannot_name(mnist):
    with pytest.raises(ValueError, match=r"train and test, not 'val'.*extra"):
        opened("val", dataset="MNIST", root=mnist[0])
    source = opened("val", dataset="MNIST", root=mnist[0], extra={"train": False})
    assert len(source) == 1
    assert source.id(0) == "MNIST/val/0"


def test_stl10_passes_the_split_on(tmp_path, monkeypatch):
    monkeypatch.setattr(tv.stl10, "check_integrity", lambda *_: True)
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    images = draw(3, 3, 96, 96)
    for name in ("train_X", "unlabeled_X", "test_X"):
        (folder / f"{name}.bin").write_bytes(images.transpose(0, 1, 3, 2).tobytes())
    for name in ("train_y", "test_y"):
        (folder / f"{name}.bin").write_bytes(bytes([1, 10, 4]))
    (folder / "class_names.txt").write_text("\n".join(CLASSES) + "\n")
    train = opened(dataset="STL10", root=tmp_path)
    np.testing.assert_array_equal(train.labels, [0, 9, 3])
    assert torch.equal(train.load(1), torch.from_numpy(images[1]))
    unlabelled = opened("unlabeled", dataset="STL10", root=tmp_path)
    np.testing.assert_array_equal(unlabelled.labels, [-1, -1, -1])
    with pytest.raises(ValueError, match=r"data\.mine: torchvision's STL10 refuses.*'mine'"):
        opened("mine", dataset="STL10", root=tmp_path)


def test_svhn(tmp_path, monkeypatch):
    monkeypatch.setenv("KMP_DUPLICATE_LIB_OK", "True")  # scipy sets it, and would leave it
    scipy_io = pytest.importorskip("scipy.io")
    monkeypatch.setattr(tv.SVHN, "_check_integrity", lambda self: True)
    images = draw(2, 3, 32, 32)
    matrix = {"X": images.transpose(2, 3, 1, 0), "y": np.array([[10], [3]], np.uint8)}
    scipy_io.savemat(tmp_path / "test_32x32.mat", matrix)
    source = opened("test", dataset="SVHN", root=tmp_path)
    np.testing.assert_array_equal(source.labels, [0, 3])
    assert source.classes is None
    assert torch.equal(source.load(1), torch.from_numpy(images[1]))


def test_emnist_hands_train_to_its_parent(tmp_path):
    folder = tmp_path / "EMNIST" / "raw"
    folder.mkdir(parents=True)
    for part, n in (("train", 2), ("test", 1)):
        stem = folder / f"emnist-digits-{part}"
        head = b"\0\0\x08\x03" + np.array([n, 28, 28], ">i4").tobytes()
        stem.with_name(stem.name + "-images-idx3-ubyte").write_bytes(head + bytes(n * 784))
        head = b"\0\0\x08\x01" + np.array([n], ">i4").tobytes()
        stem.with_name(stem.name + "-labels-idx1-ubyte").write_bytes(head + bytes([n] * n))
    source = opened("test", dataset="EMNIST", root=tmp_path, extra={"split": "digits"})
    assert len(source) == 1
    assert source.load(0).shape == (3, 28, 28)
    with pytest.raises(ValueError, match=r"EMNIST refuses.*split"):
        opened(dataset="EMNIST", root=tmp_path)


def test_a_dataset_of_files_goes_through_its_loader(tmp_path):
    pixels = draw(2, 9, 7, 3)
    for name, image in zip(("cat", "dog"), pixels, strict=True):
        (tmp_path / name).mkdir()
        Image.fromarray(image).save(tmp_path / name / "0.png")
    (tmp_path / "dog" / "1.png").write_bytes(b"no image")
    source = opened(dataset="ImageFolder", root=tmp_path)
    np.testing.assert_array_equal(source.labels, [0, 1, 1])
    assert source.classes == ["cat", "dog"]
    assert torch.equal(source.load(1), torch.from_numpy(pixels[1]).permute(2, 0, 1))
    with pytest.raises(ImageError, match="ImageFolder/train/2: cannot be read"):
        source.load(2)


def test_labels_are_found_under_any_of_torchvisions_names(tmp_path, monkeypatch):
    class Base(tv.VisionDataset):
        def __len__(self):
            return 2

    class Pairs(Base):
        _samples: ClassVar = [("a.png", 1), ("b.png", 0)]

    class Attributes(Base):
        attr = torch.tensor([[0, 1, 0], [1, 1, 0]])
        attr_names: ClassVar = ["bald", "smiling", "young", ""]

    class Bare(Base):
        pass

    for cls in (Pairs, Attributes, Bare):
        monkeypatch.setattr(tv, cls.__name__, cls, raising=False)
    monkeypatch.setattr(tv, "__all__", ("Pairs", "Attributes", "Bare"))
    np.testing.assert_array_equal(opened(dataset="Pairs", root=tmp_path).labels, [1, 0])
    several = opened(dataset="Attributes", root=tmp_path)
    assert several.labels.dtype == np.int8
    np.testing.assert_array_equal(several.labels, [[0, 1, 0], [1, 1, 0]])
    assert several.classes == ["bald", "smiling", "young"]
    assert opened(dataset="Bare", root=tmp_path).labels is None


def test_a_dataset_without_parts_says_so(tmp_path, caplog):
    assert len(opened("test", dataset="FakeData", root=tmp_path, extra={"size": 4})) == 4
    assert "FakeData has no parts: data.test holds all" in caplog.text


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"dataset": "CIFAR01"}, ValueError, "no dataset 'CIFAR01'.*CIFAR10"),
        ({"dataset": "CIFAR10"}, OSError, "not found.*download: true.*root"),
        (
            {"dataset": "MNIST", "extra": {"size": 3}},
            ValueError,
            "no 'size' to set.*train",
        ),
        ({"dataset": "MNIST", "extra": {"transform": 1}}, ValueError, "data.views"),
        ({"dataset": "FakeData", "download": True}, ValueError, "cannot download FakeData"),
    ],
)
def test_mistakes_are_explained(tmp_path, options, error, said):
    with pytest.raises(error, match=f"(?s){said}"):
        opened(root=tmp_path, **options)


def test_the_constructor_touches_nothing(tmp_path):
    TorchVision(dataset="CIFAR10", root=tmp_path / "absent", download=True)
    assert not list(tmp_path.iterdir())


def test_every_dataset_in_memory_exists_in_torchvision():
    from sslight.data.sources import torchvision as source

    for name in (*source._IN_MEMORY, *source._SPLIT_NAMES):
        assert name in tv.__all__
