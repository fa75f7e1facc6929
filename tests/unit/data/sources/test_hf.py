"""Hugging Face datasets: against a stand-in for the package, and the real one where installed."""

import io
import json
import pickle
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from sslight.data.errors import ImageError
from sslight.data.sources.hf import HF

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 10, 12, 3), dtype=np.uint8)


def png(i):
    file = io.BytesIO()
    Pillow.fromarray(PIXELS[i]).save(file, "PNG")
    return file.getvalue()


class Image:
    def __init__(self, decode=True):
        self.decode = decode


class ClassLabel:
    def __init__(self, *names):
        self.names = list(names)


class Value:
    pass


class Rows:
    """The part of datasets.Dataset that the source uses."""

    def __init__(self, columns, features):
        self.columns, self.features = columns, features

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, key):
        for name, kind in self.features.items():
            if isinstance(kind, Image) and kind.decode:
                raise AssertionError(f"{name} was decoded by the package")
        return {name: values[key] for name, values in self.columns.items()}

    def select_columns(self, names):
        return Rows({n: self.columns[n] for n in names}, {n: self.features[n] for n in names})

    def cast_column(self, name, kind):
        return Rows(self.columns, {**self.features, name: kind})


def images(*cells):
    return [None if c is None else {"bytes": c, "path": None} for c in cells]


@pytest.fixture
def package(monkeypatch):
    module = ModuleType("datasets")
    module.Image = Image
    module.asked = []
    module.parts = {}

    def load_dataset(path, config, *, split, revision, data_files, cache_dir):
        module.asked.append((path, config, split, revision, data_files, cache_dir))
        if split not in module.parts:
            raise ValueError(f'Unknown split "{split}". Should be one of {list(module.parts)}.')
        return module.parts[split]

    module.load_dataset = load_dataset
    module.load_from_disk = lambda path: module.parts
    monkeypatch.setitem(sys.modules, "datasets", module)
    return module


def opened(split="train", **options):
    source = HF(**{"path": "user/birds", **options})
    source.split = split
    source.open()
    return source


def test_columns_are_found_and_bytes_decoded_here(package):
    columns = {"id": [5, 6, 7], "picture": images(png(0), png(1), png(2)), "y": [1, 0, 1]}
    features = {"id": Value(), "picture": Image(), "y": ClassLabel("crow", "tit")}
    package.parts = {"train": Rows(columns, features), "test": Rows(columns, features)}
    train, test = opened(config="small", revision="v1"), opened("test")
    assert package.asked[0] == ("user/birds", "small", "train", "v1", None, None)
    np.testing.assert_array_equal(train.labels, [1, 0, 1])
    assert train.labels.dtype == np.int64
    assert train.classes == ["crow", "tit"]
    assert len(train) == 3
    assert torch.equal(train.load(1), torch.from_numpy(PIXELS[1]).permute(2, 0, 1))
    assert (train.id(2), test.id(0)) == ("user/birds/train/2", "user/birds/test/0")
    assert train.fingerprint() != test.fingerprint()
    with pytest.raises(IndexError, match="image 3 of 3"):
        train.load(3)


def test_names_as_labels_and_images_without_one(package):
    columns = {"image": images(png(0), png(1), png(2)), "kind": ["tit", None, "crow"]}
    rows = Rows(columns, {"image": Image(), "kind": Value()})
    package.parts = {"train": rows}
    named = opened(label="kind")
    assert named.classes == ["crow", "tit"]
    np.testing.assert_array_equal(named.labels, [1, -1, 0])
    unlabelled = opened()
    assert unlabelled.labels is None
    assert unlabelled.classes is None


def test_numbers_in_a_column_named_label(package):
    columns = {"image": images(png(0), png(1), png(2)), "label": [4, None, 2]}
    package.parts = {"train": Rows(columns, {"image": Image(), "label": Value()})}
    source = opened()
    np.testing.assert_array_equal(source.labels, [4, -1, 2])
    assert source.classes is None


def test_unreadable_rows_are_image_errors(package, tmp_path):
    stored = images(b"nothing", None)
    stored += [{"bytes": None, "path": str(tmp_path / "gone.png")}]
    (tmp_path / "here.png").write_bytes(png(2))
    stored += [{"bytes": None, "path": str(tmp_path / "here.png")}]
    package.parts = {"train": Rows({"image": stored}, {"image": Image()})}
    source = opened()
    for i, said in enumerate(("not an image", "holds no image", "cannot be read")):
        with pytest.raises(ImageError, match=f"user/birds/train/{i}.*{said}"):
            source.load(i)
    assert torch.equal(source.load(3), torch.from_numpy(PIXELS[2]).permute(2, 0, 1))


def test_saved_to_disk(package, tmp_path):
    rows = Rows({"image": images(png(0))}, {"image": Image()})
    package.parts = {"train": rows}
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["train"]}))
    assert len(opened(path=tmp_path)) == 1
    with pytest.raises(ValueError, match=r"splits train, not 'test'.*hf_split"):
        opened("test", path=tmp_path)
    assert len(opened("test", path=tmp_path, hf_split="train")) == 1
    assert package.asked == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"split": "val"}, 'Unknown split "val".*hf_split'),
        ({"image": "label"}, "image='label' is not a column of images"),
        ({"label": "species"}, r"label='species' is not a column: \['a', 'b', 'label'\]"),
        ({"image": None}, "2 of the columns.*Set image"),
        ({"image": "a", "label": "b"}, "neither class numbers nor names"),
    ],
)
def test_mistakes_are_explained(package, options, said):
    columns = {"a": images(png(0)), "b": images(png(1)), "label": [1]}
    features = {"a": Image(), "b": Image(), "label": Value()}
    package.parts = {"train": Rows(columns, features)}
    if options.get("label") == "b":
        features["b"] = Value()
    with pytest.raises(ValueError, match=f"(?s){said}"):
        opened(**{"image": "a", **options})


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"sslight\[hf\]"):
        opened()


def test_the_real_package(tmp_path, monkeypatch):
    monkeypatch.setenv("KMP_DUPLICATE_LIB_OK", "True")  # set by what the package imports
    datasets = pytest.importorskip("datasets")
    for k, name in enumerate(("crow", "crow", "tit")):
        for part in ("train", "test")[: 2 - k % 2]:
            (tmp_path / "birds" / part / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "birds" / part / name / f"{k}.png").write_bytes(png(k))
    options = {"path": tmp_path / "birds", "cache_dir": tmp_path / "cache"}
    train, test = opened(**options), opened("test", **options)
    np.testing.assert_array_equal(train.labels, [0, 0, 1])
    np.testing.assert_array_equal(test.labels, [0, 1])
    assert train.classes == test.classes == ["crow", "tit"]
    for i in range(3):
        assert torch.equal(train.load(i), torch.from_numpy(PIXELS[i]).permute(2, 0, 1))
    assert torch.equal(test.load(1), train.load(2))
    assert test.id(1) == "birds/test/1"
    with pytest.raises(ValueError, match=r"data\.val.*hf_split"):
        opened("val", **options)

    parts = datasets.load_dataset(str(tmp_path / "birds"), cache_dir=str(tmp_path / "cache"))
    parts.save_to_disk(str(tmp_path / "saved"))
    saved = opened("test", path=tmp_path / "saved")
    np.testing.assert_array_equal(saved.labels, test.labels)
    assert torch.equal(saved.load(1), train.load(2))
    assert len(opened("test", path=tmp_path / "saved" / "train")) == 3
    copy = pickle.loads(pickle.dumps(saved))
    assert torch.equal(copy.load(0), test.load(0))
