"""Source `filelist`: text, CSV and `.npy` lists, their labels, and what is wrong in them."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from PIL import Image

from sslight.data.errors import ImageError
from sslight.data.sources._lists import guess_separator
from sslight.data.sources.filelist import FileList, Prefix


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SSLIGHT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def images(tmp_path):
    for k, name in enumerate(("a.jpg", "b c.jpg", "sub/d.png")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (6, 4), (k * 20, 0, 0)).save(path, quality=100)
    return tmp_path


def opened(*args, **kwargs):
    source = FileList(*args, **kwargs)
    source.open()
    return source


def listed(folder, text, name="list.txt", **kwargs):
    (folder / name).write_text(text, encoding="utf-8")
    return opened(folder / name, **kwargs)


def ids(source):
    return [source.id(i) for i in range(len(source))]


def red(source, i):
    return int(source.load(i)[0, 0, 0])


def test_a_path_per_line(images):
    source = listed(images, "\ufeff# my list\nsub/d.png\n\n  b c.jpg  \r\na.jpg\n")
    assert ids(source) == ["sub/d.png", "b c.jpg", "a.jpg"]
    assert source.labels is None
    assert source.classes is None
    assert [red(source, i) for i in range(3)] == [40, 20, 0]


@pytest.mark.parametrize("separator", ["\t", ",", " ", ", ", "   "])
def test_labels_after_a_separator(images, separator):
    lines = [f"{p}{separator}{c}" for p, c in (("b c.jpg", "dog"), ("a.jpg", "cat"))]
    source = listed(images, "\n".join(lines))
    assert ids(source) == ["b c.jpg", "a.jpg"]
    assert source.classes == ["cat", "dog"]
    assert source.labels.tolist() == [1, 0]


def test_labels_with_spaces_and_numbers(images):
    assert listed(images, "b c.jpg tabby cat\n").classes == ["tabby cat"]
    source = listed(images, "a.jpg 7\nb c.jpg 0\nsub/d.png -1\n", "n.txt")
    assert source.labels.tolist() == [7, 0, -1]
    assert source.classes == [str(i) for i in range(8)]
    assert listed(images, "a.jpg 7\n", "m.txt", labels="none").labels is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a.jpg", "none"),
        ("my photo.jpg", "none"),
        ("a.jpg (1).jpg", "none"),
        ("x,y.png", "none"),
        ("a.JPEG 3", "space"),
        ("a b.png,dog", "comma"),
        ("a.png,big dog", "comma"),
        ("name\tdog", "tab"),
        ("no extension here", "none"),
    ],
)
def test_guessing_the_separator(line, expected):
    assert guess_separator(line) == expected


def test_the_separator_may_be_given(images):
    source = listed(images, "no ext at all 3\nb c.jpg 4\n", separator="space")
    assert ids(source) == ["no ext at all", "b c.jpg"]
    assert source.labels.tolist() == [3, 4]
    assert ids(listed(images, "a.jpg 3\n", "n.txt", separator="none")) == ["a.jpg 3"]


def test_a_line_without_its_label_is_named(images):
    with pytest.raises(ValueError, match=r"list\.txt, line 3: 'b\.jpg' has no label after a tab"):
        listed(images, "a.jpg\t1\n# x\nb.jpg\n")


def test_csv(images):
    text = 'id,Image,label\n1,"b c.jpg",dog\n\n2,a.jpg,\n3,sub/d.png,cat\n'
    source = listed(images, text, "list.csv")
    assert ids(source) == ["b c.jpg", "a.jpg", "sub/d.png"]
    assert source.classes == ["cat", "dog"]
    assert source.labels.tolist() == [1, -1, 0]
    assert listed(images, text, "again.csv", labels="none").labels is None
    other = listed(images, text, "other.csv", labels="id")
    assert other.labels.tolist() == [1, 2, 3]


def test_tsv_and_named_columns(images):
    source = listed(
        images, "where\tkind\na.jpg\tx, y\n", "l.tsv", path_column="where", labels="kind"
    )
    assert ids(source) == ["a.jpg"]
    assert source.classes == ["x, y"]


def test_multi_label_csv(images):
    text = "path,red,round\na.jpg,1,0\nb c.jpg,,-1\nsub/d.png,0.0,1.0\n"
    source = listed(images, text, "list.csv", labels=["red", "round"])
    assert source.labels.dtype == np.int8
    assert source.labels.tolist() == [[1, 0], [-1, -1], [0, 1]]
    assert source.classes == ["red", "round"]
    source.align(["new", "round", "red"])
    assert source.labels.tolist() == [[-1, 0, 1], [-1, -1, -1], [-1, 1, 0]]
    with pytest.raises(ValueError, match=r"image 1: 'many' in a column of a multi-label"):
        listed(images, "path,r,s\na.jpg,many,1\n", "bad.csv", labels=["r", "s"])


def test_csv_problems_are_named(images):
    with pytest.raises(ValueError, match=r"no column of paths. The header has: a\.jpg, 3"):
        listed(images, "a.jpg,3\n", "x.csv")
    with pytest.raises(ValueError, match=r"no column breed. The header has: path, kind"):
        listed(images, "path,kind\n", "y.csv", labels="breed")
    with pytest.raises(ValueError, match="line 3: 3 fields, but the header has 2"):
        listed(images, "path,label\na.jpg,1\nb,c.jpg,2\n", "z.csv")


@pytest.mark.parametrize("dtype", ["U", "S"])
def test_npy(images, dtype):
    np.save(images / "p.npy", np.array(["sub/d.png", "a.jpg"]).astype(dtype))
    np.save(images / "l.npy", np.array([4, 0], dtype=np.int32))
    source = opened(images / "p.npy", labels=str(images / "l.npy"))
    assert ids(source) == ["sub/d.png", "a.jpg"]
    assert source.labels.tolist() == [4, 0]
    assert source.labels.dtype == np.int64
    assert red(source, 0) == 40
    assert opened(images / "p.npy").labels is None


def test_npy_labels_of_other_kinds(images):
    np.save(images / "p.npy", np.array(["a.jpg", "b c.jpg"]))

    def labelled(values):
        np.save(images / "l.npy", values)
        return opened(images / "p.npy", labels=str(images / "l.npy"))

    assert labelled(np.array(["dog", "cat"])).classes == ["cat", "dog"]
    many = labelled(np.array([[1, 0, -1], [0, 0, 1]]))
    assert many.labels.dtype == np.int8
    assert many.labels.tolist() == [[1, 0, -1], [0, 0, 1]]
    with pytest.raises(ValueError, match=r"labels \[3\] of int64 for 2 images"):
        labelled(np.array([1, 2, 3]))
    with pytest.raises(ValueError, match="expected integers or text"):
        labelled(np.array([0.5, 1.0]))
    with pytest.raises(ValueError, match="label -7"):
        labelled(np.array([-7, 1]))
    with pytest.raises(ValueError, match="1, 0 and -1 only"):
        labelled(np.array([[5, 0], [0, 0]]))


def test_arrays_of_objects_are_refused(images):
    np.save(images / "p.npy", np.array(["a.jpg"], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"astype\(str\)"):
        opened(images / "p.npy")
    np.save(images / "p.npy", np.zeros((2, 2)))
    with pytest.raises(ValueError, match="expected one dimension of"):
        opened(images / "p.npy")


def test_root_and_absolute_paths(images, tmp_path):
    (tmp_path / "lists").mkdir()
    text = f"a.jpg\n{images}/sub/d.png\n"
    source = listed(tmp_path / "lists", text, root=images)
    assert [red(source, i) for i in range(2)] == [0, 40]
    assert ids(source) == ["a.jpg", f"{images}/sub/d.png"]


def test_prefix_rewrite(images):
    text = "/old/disk/sub/d.png\n/old/disk/a.jpg\n"
    source = listed(images, text, prefix=Prefix("/old/disk", str(images)))
    assert [red(source, i) for i in range(2)] == [40, 0]
    assert ids(source)[0] == "/old/disk/sub/d.png"
    again = opened(images / "list.txt", prefix={"old": "/old/disk/sub", "new": f"{images}/sub"})
    assert red(again, 0) == 40
    with pytest.raises(ImageError, match="No such file"):
        again.load(1)
    with pytest.raises(ValueError, match=r"begins with prefix\.old='/odl'.*'/old/disk/sub/d.png'"):
        opened(images / "list.txt", prefix=Prefix("/odl", "/new"))


def test_missing_images_are_named_when_they_are_loaded(images):
    source = listed(images, "a.jpg\nnot there.jpg\nsub\n")
    assert len(source) == 3
    with pytest.raises(ImageError, match=r"^not there\.jpg: cannot be read: No such file"):
        source.load(1)
    with pytest.raises(ImageError, match=r"^sub: cannot be read: Is a directory"):
        source.load(2)


def test_missing_and_empty_lists(images):
    with pytest.raises(FileNotFoundError, match=r"data\.train: list .*lst\.txt does not exist"):
        opened(images / "lst.txt")
    with pytest.raises(ValueError, match="names no image"):
        listed(images, "# nothing\n")


def test_cached_until_the_list_changes(images, monkeypatch):
    first = listed(images, "a.jpg\n")
    with monkeypatch.context() as patch:
        patch.setattr(FileList, "_build", lambda self: pytest.fail("built again"))
        opened(images / "list.txt")
        copy = pickle.loads(pickle.dumps(first))
        assert ids(copy) == ["a.jpg"]
    stamp = os.stat(images / "list.txt").st_mtime_ns
    (images / "list.txt").write_text("b.jpg\n")
    os.utime(images / "list.txt", ns=(stamp, stamp))  # same size, same time
    assert ids(opened(images / "list.txt")) == ["b.jpg"]
    assert ids(copy) == ["a.jpg"]


def test_paths_of_any_bytes(images):
    (images / "list.txt").write_bytes(b"\xff.jpg\n")
    os.rename(os.fsencode(images) + b"/a.jpg", os.fsencode(images) + b"/\xff.jpg")
    assert red(opened(images / "list.txt"), 0) == 0
