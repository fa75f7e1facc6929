"""Source `folder`: what is found, in which order, with which labels."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslight.data.errors import ImageError
from sslight.data.sources.folder import Folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SSLIGHT_CACHE", str(tmp_path / "cache"))


def make(root: Path, *names: str) -> Path:
    for k, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in (".jpg", ".png", ".gif"):
            kind = {".jpg": "JPEG"}.get(path.suffix.lower(), "PNG")
            Image.new("RGB", (6, 4), (k * 20, 0, 0)).save(path, kind)
        else:
            path.write_text("x")
    settle(root)
    return root


def settle(root: Path, seconds: float = 100) -> None:
    """Make the folders look as if they had not been touched for a while."""
    then = time.time() - seconds
    for folder, _, _ in os.walk(root):
        os.utime(folder, (then, then))


def opened(*args, **kwargs):
    source = Folder(*args, **kwargs)
    source.open()
    return source


def ids(source):
    return [source.id(i) for i in range(len(source))]


def test_recursive_in_byte_order_without_hidden_files(tmp_path):
    names = ["b/x.jpg", "a/2.png", "a/10.PNG", "a.jpg", "a0.jpg", "a/deep/er/1.jpg", "ü/é.jpg"]
    root = make(tmp_path / "r", *names, ".hidden/1.jpg", "a/.2.jpg", "a/readme.txt", "b/x.jpg.part")
    source = opened(root)
    assert ids(source) == sorted(names, key=os.fsencode)
    assert len(source) == 7
    out = source.load(ids(source).index("a/2.png"))
    assert (out.shape, int(out[0, 0, 0])) == ((3, 4, 6), 20)


def test_labels_are_the_first_level_folders(tmp_path):
    root = make(tmp_path / "r", "dog/1.jpg", "cat/x/2.jpg", "cat/1.jpg", "empty/readme.txt")
    source = opened(root)
    assert source.classes == ["cat", "dog"]
    assert source.labels.tolist() == [0, 0, 1]
    assert source.labels.dtype == np.int64
    assert opened(root, labels="none").labels is None


def test_number_named_folders_are_names(tmp_path):
    source = opened(make(tmp_path / "r", "10/1.jpg", "9/1.jpg", "-1/1.jpg"))
    assert source.classes == ["-1", "10", "9"]
    assert source.labels.tolist() == [0, 1, 2]


def test_auto_finds_no_labels_in_one_folder_or_beside_the_folders(tmp_path):
    one = make(tmp_path / "one", "cat/1.jpg", "cat/2.jpg")
    mixed = make(tmp_path / "mixed", "cat/1.jpg", "dog/2.jpg", "z.jpg")
    for root in (one, mixed):
        source = opened(root)
        assert source.labels is None
        assert source.classes is None
    assert opened(one, labels="folder").labels.tolist() == [0, 0]
    assert opened(mixed, labels="folder").labels.tolist() == [0, 1, -1]


def test_folder_labels_without_folders_are_an_error(tmp_path):
    root = make(tmp_path / "r", "1.jpg")
    with pytest.raises(ValueError, match="no sub-folder to take a label from"):
        opened(root, labels="folder")


def test_several_roots_are_concatenated(tmp_path):
    make(tmp_path / "x" / "data", "cat/1.jpg")
    make(tmp_path / "y" / "data", "ant/1.jpg", "cat/2.jpg")
    source = opened([tmp_path / "x" / "data", str(tmp_path / "y" / "data")])
    assert ids(source) == ["data/cat/1.jpg", "data-2/ant/1.jpg", "data-2/cat/2.jpg"]
    assert source.classes == ["ant", "cat"]
    assert source.labels.tolist() == [1, 0, 1]
    assert int(source.load(1)[0, 0, 0]) == 0
    assert int(source.load(2)[0, 0, 0]) == 20


def test_links_are_followed_but_not_in_circles(tmp_path):
    root = make(tmp_path / "r", "a/1.jpg")
    make(tmp_path / "other", "2.jpg")
    (root / "a" / "up").symlink_to(root)
    (root / "linked").symlink_to(tmp_path / "other")
    (root / "a" / "file.jpg").symlink_to(tmp_path / "other" / "2.jpg")
    (root / "a" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    source = opened(root)
    assert ids(source) == ["a/1.jpg", "a/file.jpg", "a/gone.jpg", "linked/2.jpg"]
    assert source.load(1).shape == (3, 4, 6)
    with pytest.raises(ImageError, match=r"^a/gone\.jpg: cannot be read: No such file") as caught:
        source.load(2)
    assert caught.value.id == "a/gone.jpg"


def test_home_and_variables_are_replaced(tmp_path, monkeypatch):
    make(tmp_path / "home" / "r", "1.jpg")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PICTURES", str(tmp_path / "home" / "r"))
    assert ids(opened("~/r")) == ids(opened("$PICTURES")) == ["1.jpg"]


def test_extensions_may_be_given(tmp_path):
    root = make(tmp_path / "r", "1.jpg", "2.PNG", "3.xyz")
    assert ids(opened(root, extensions=["png", ".xyz"])) == ["2.PNG", "3.xyz"]
    with pytest.raises(ValueError, match="write a list"):
        Folder(root, extensions="png")


def test_a_missing_root_is_named_with_what_is_there(tmp_path):
    make(tmp_path / "data", "train/1.jpg", "val/1.jpg")
    wrong = tmp_path / "data" / "trian" / "x"
    with pytest.raises(FileNotFoundError) as caught:
        opened(wrong)
    assert str(wrong) in str(caught.value)
    assert "train, val" in str(caught.value)
    assert "data.train" in str(caught.value)


def test_a_root_without_images_says_what_was_found(tmp_path):
    root = make(tmp_path / "r", "a/1.txt", "a/2.txt", "b/3.csv")
    with pytest.raises(
        ValueError, match=r"no image under .*2 \.txt, 1 \.csv in 3 folder"
    ) as caught:
        opened(root)
    assert str(root) in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="Found nothing in 1 folder"):
        opened(tmp_path / "empty")


def test_a_file_as_root_and_an_empty_list(tmp_path):
    make(tmp_path / "r", "1.jpg")
    with pytest.raises(NotADirectoryError, match="filelist"):
        opened(tmp_path / "r" / "1.jpg")
    with pytest.raises(ValueError, match="empty list"):
        Folder([])
    with pytest.raises(ValueError, match="auto, folder, none"):
        Folder("x", labels="yes")


def test_the_constructor_touches_no_disk():
    assert Folder("/nowhere/at/all").split == "train"


def test_the_index_is_cached_until_a_folder_changes(tmp_path, monkeypatch):
    root = make(tmp_path / "r", "a/1.jpg", "b/1.jpg")
    first = opened(root)
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "_build", lambda self: pytest.fail("built again"))
        second = opened(root)
    assert second.fingerprint() == first.fingerprint()
    make(root, "b/2.jpg")
    settle(root, 50)
    assert ids(opened(root)) == ["a/1.jpg", "b/1.jpg", "b/2.jpg"]
    (root / "b" / "2.jpg").unlink()
    assert len(opened(root)) == 2
    assert len(first) == 2


def test_a_folder_that_has_just_changed_is_not_trusted(tmp_path):
    root = make(tmp_path / "r", "a/1.jpg", "b/1.jpg")
    stamp = os.stat(root / "b")
    os.utime(root / "b")  # now
    assert len(opened(root)) == 2
    moment = os.stat(root / "b").st_mtime_ns
    Image.new("RGB", (2, 2)).save(root / "b" / "2.png")
    os.utime(root / "b", ns=(moment, moment))  # a coarse clock: changed, same time
    assert len(opened(root)) == 3
    assert stamp.st_mtime_ns != moment


def test_the_fingerprint_does_not_depend_on_the_root(tmp_path):
    names = ("a/1.jpg", "b/1.jpg")
    first, second = make(tmp_path / "r", *names), make(tmp_path / "elsewhere", *names)
    assert opened(first).fingerprint() == opened(second).fingerprint()
    make(second, "b/2.jpg")
    settle(second, 30)
    assert opened(first).fingerprint() != opened(second).fingerprint()


def test_pickled_small_and_opened_on_arrival(tmp_path, monkeypatch):
    root = make(tmp_path / "r", *(f"{c}/{k}.jpg" for c in "ab" for k in range(100)))
    source = opened(root)
    sent = pickle.dumps(source)
    assert len(sent) < 2000
    monkeypatch.setattr(Folder, "_build", lambda self: pytest.fail("built again"))
    make(root, "a/new.jpg")  # the copy still sees the rows it was sent
    copy = pickle.loads(sent)
    assert ids(copy) == ids(source)
    assert copy.labels.tolist() == source.labels.tolist()
    assert copy.load(3).shape == (3, 4, 6)


def test_labels_are_aligned_with_the_training_classes(tmp_path):
    train = opened(make(tmp_path / "train", "ant/1.jpg", "bee/1.jpg", "cat/1.jpg"))
    test = opened(make(tmp_path / "test", "ant/1.jpg", "cat/1.jpg"))
    assert test.labels.tolist() == [0, 1]
    before = test.fingerprint()
    test.align(train.classes)
    assert test.labels.tolist() == [0, 2]
    assert test.classes == ["ant", "bee", "cat"]
    assert test.fingerprint() == before
    assert pickle.loads(pickle.dumps(test)).labels.tolist() == [0, 2]
    assert pickle.loads(pickle.dumps(test)).classes == ["ant", "bee", "cat"]


def test_unknown_classes_are_listed(tmp_path):
    source = opened(make(tmp_path / "test", "ant/1.jpg", "dodo/1.jpg", "emu/1.jpg"))
    source.split = "test"
    with pytest.raises(ValueError, match=r"data\.test: 2 class.*dodo, emu"):
        source.align(["ant", "bee"])


def test_rows_out_of_range(tmp_path):
    source = opened(make(tmp_path / "r", "1.jpg"))
    for row in (1, -1):
        with pytest.raises(IndexError):
            source.load(row)


def test_the_limit_of_pixels_reaches_the_decoder(tmp_path):
    source = opened(make(tmp_path / "r", "1.jpg"), max_pixels=23)
    with pytest.raises(ImageError, match=r"1\.jpg: 6 x 4 = 24 pixels"):
        source.load(0)


@pytest.mark.parametrize("name", [b"\xff\xfe.jpg", b"tab\there.jpg"])
def test_names_of_any_bytes(tmp_path, name):
    root = make(tmp_path / "r", "1.jpg")
    os.rename(os.fsencode(root / "1.jpg"), os.fsencode(root) + b"/" + name)
    source = opened(root)
    source.id(0).encode("utf-8")  # can be written anywhere
    assert source.load(0).shape == (3, 4, 6)
