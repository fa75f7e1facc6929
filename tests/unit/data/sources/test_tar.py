"""Source `tar`: every member found, labelled and read back; damaged shards named."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import tarfile

import pytest
from PIL import Image

from sslight.data.errors import ImageError
from sslight.data.sources._shards import ShardReader, expand_braces
from sslight.data.sources.tar import Tar


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SSLIGHT_CACHE", str(tmp_path / "cache"))


def png(red):
    file = io.BytesIO()
    Image.new("RGB", (6, 4), (red, 0, 0)).save(file, "PNG")
    return file.getvalue()


def shard(path, members, kind=tarfile.PAX_FORMAT):
    """Write a tar: number -> an image of that red, str/bytes -> content, ("link", to) -> a link."""
    with tarfile.open(path, "w", format=kind) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, tuple):
                info.type = {"hard": tarfile.LNKTYPE, "sym": tarfile.SYMTYPE}[content[0]]
                info.linkname = content[1]
                tar.addfile(info)
                continue
            data = png(content) if isinstance(content, int) else content
            data = data.encode() if isinstance(data, str) else data
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def opened(*args, **kwargs):
    source = Tar(*args, **kwargs)
    source.open()
    return source


def ids(source):
    return [source.id(i) for i in range(len(source))]


def reds(source):
    return [int(source.load(i)[0, 0, 0]) for i in range(len(source))]


def test_shards_in_order_and_random_access(tmp_path):
    shard(tmp_path / "s-1.tar", {"b.png": 3, "a.png": 4, "readme.txt": "x", ".h.png": 9})
    shard(tmp_path / "s-0.tar", {"x/1.PNG": 1, "x/2.png": 2})
    for root in (
        tmp_path,
        tmp_path / "s-*.tar",
        str(tmp_path / "s-{0..1}.tar"),
        [tmp_path / "s-0.tar", str(tmp_path / "?-1.tar")],
    ):
        source = opened(root)
        assert ids(source) == [
            "s-0.tar/x/1.PNG",
            "s-0.tar/x/2.png",
            "s-1.tar/b.png",
            "s-1.tar/a.png",
        ]
        assert [int(source.load(i)[0, 0, 0]) for i in (3, 0, 2, 1, 3)] == [4, 1, 3, 2, 4]
    for row in (4, -1):
        with pytest.raises(IndexError):
            source.load(row)


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_and_unicode_names(tmp_path, kind):
    names = {"d" * 90 + "/" + "f" * 180 + ".png": 1, "ü/日本.png": 2, "s.png": 3}
    source = opened(shard(tmp_path / "s.tar", names, kind))
    assert ids(source) == [f"s.tar/{name}" for name in names]
    assert reds(source) == [1, 2, 3]


def test_labels_beside_the_images(tmp_path):
    members = {"1.cls": "7", "1.png": 1, "2.png": 2, "2.cls": " 0\n", "3.png": 3}
    source = opened(shard(tmp_path / "s.tar", members))
    assert source.labels.tolist() == [7, 0, -1]
    assert opened(tmp_path / "s.tar", labels="none").labels is None


def test_webdataset_names_end_at_the_first_dot(tmp_path):
    members = {"x.y/1.img.png": 1, "x.y/1.cls": "dog", "x.y/2.img.png": 2, "x.y/2.cls": "cat"}
    source = opened(shard(tmp_path / "s.tar", members), extensions=["img.png"])
    assert source.classes == ["cat", "dog"]
    assert source.labels.tolist() == [1, 0]


def test_json_labels(tmp_path):
    members = {
        "1.json": json.dumps({"label": 2, "kind": "dog"}),
        "1.png": 1,
        "2.json": json.dumps({"kind": "cat"}),
        "2.png": 2,
    }
    path = shard(tmp_path / "s.tar", members)
    assert opened(path).labels.tolist() == [2, -1]
    assert opened(path, label_key="kind").classes == ["cat", "dog"]
    with pytest.raises(ValueError, match="labels=json, but no image"):
        opened(path, labels="json", label_key="nothing")


def test_folder_labels(tmp_path):
    path = shard(tmp_path / "s.tar", {"./dog/1.png": 1, "./cat/deep/2.png": 2})
    assert opened(path).classes == ["cat", "dog"]
    assert opened(path).labels.tolist() == [1, 0]
    mixed = shard(tmp_path / "m.tar", {"dog/1.png": 1, "cat/1.png": 2, "3.png": 3})
    assert opened(mixed).labels is None
    assert opened(mixed, labels="folder").labels.tolist() == [1, 0, -1]


@pytest.mark.parametrize("content", ["[1]", "{", '{"label": [1, 2]}', '{"label": 0.5}'])
def test_a_broken_label_is_named(tmp_path, content):
    path = shard(tmp_path / "s.tar", {"1.png": 1, "1.json": content})
    with pytest.raises(ValueError, match=r"label 1\.json in shard .*s\.tar"):
        opened(path)


def test_links_inside_a_shard(tmp_path):
    members = {
        "a/1.png": 5,
        "b/hard.png": ("hard", "a/1.png"),
        "b/sym.png": ("sym", "../a/1.png"),
        "b/lost.png": ("sym", "nowhere.png"),
        "b/self.png": ("sym", "self.png"),
    }
    source = opened(shard(tmp_path / "s.tar", members))
    assert [int(source.load(i)[0, 0, 0]) for i in range(3)] == [5, 5, 5]
    for row in (3, 4):
        with pytest.raises(ImageError, match="a link to a member that is not in its shard"):
            source.load(row)


@pytest.mark.parametrize("part", [0.97, 0.7, 0.5, 0.3, 0.02])
def test_a_truncated_shard_is_named_with_its_offset(tmp_path, part):
    path = shard(tmp_path / "s.tar", {f"{k}.png": os.urandom(3000) for k in range(6)})
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1]
    whole = path.read_bytes()[: last.offset_data + 3000]
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(ValueError, match=r"s\.tar is damaged or truncated at offset \d+ of \d+"):
        opened(path)


def test_every_cut_is_noticed(tmp_path):
    path = shard(tmp_path / "s.tar", {"1.png": b"x" * 700, "2.png": b"y" * 100})
    whole = path.read_bytes()
    members_end = 512 + 1024 + 512 + 512
    for cut in range(1, members_end, 64):
        path.write_bytes(whole[:cut])
        if cut == 512 + 1024:  # a whole tar of one member, but for the end mark
            continue
        with pytest.raises(ValueError, match="damaged or truncated"):
            opened(path)
    path.write_bytes(whole[:members_end])  # no end mark: some writers leave it out
    assert len(opened(path)) == 2


def test_a_damaged_header_in_the_middle_is_noticed(tmp_path):
    path = shard(tmp_path / "s.tar", {"1.png": b"x" * 512, "2.png": b"y" * 512, "3.png": 1})
    data = bytearray(path.read_bytes())
    data[1024 + 3] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ValueError, match="at offset 1024 of"):
        opened(path)


def test_a_shard_cut_after_it_was_indexed(tmp_path):
    path = shard(tmp_path / "s.tar", {"1.png": 1, "2.png": 2})
    source = opened(path)
    os.truncate(path, 600)
    with pytest.raises(ImageError, match=r"^s\.tar/2\.png: cannot be read: .*is truncated"):
        source.load(1)


def test_what_is_no_tar(tmp_path):
    path = shard(tmp_path / "s.tar", {"1.png": 1})
    (tmp_path / "z.tar").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(ValueError, match=r"z\.tar is compressed"):
        opened(tmp_path / "z.tar")
    (tmp_path / "e.tar").write_bytes(b"")
    with pytest.raises(ValueError, match="damaged or truncated"):
        opened(tmp_path / "e.tar")
    with pytest.raises(FileNotFoundError, match=r"data\.train: no tar shard matches .*q-1\.tar"):
        opened(tmp_path / "q-{1..2}.tar")
    with pytest.raises(ValueError, match=r"no image in 1 shard.*looked for \.gif"):
        opened(path, extensions=["gif"])
    with pytest.raises(ValueError, match="allowed: auto, cls, json"):
        Tar(path, labels="yes")


def test_cached_until_a_shard_changes(tmp_path, monkeypatch):
    path = shard(tmp_path / "s.tar", {"1.png": 1})
    first = opened(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Tar, "_build", lambda self: pytest.fail("built again"))
        assert opened(tmp_path).fingerprint() == first.fingerprint()
        copy = pickle.loads(pickle.dumps(first))
        assert reds(copy) == [1]
    shard(path, {"1.png": 1, "2.png": 2})
    assert len(opened(tmp_path)) == 2
    shard(tmp_path / "t.tar", {"3.png": 3})
    assert ids(opened(tmp_path))[-1] == "t.tar/3.png"
    assert len(first) == 1


def test_the_fingerprint_does_not_depend_on_the_root(tmp_path):
    (tmp_path / "other").mkdir()
    first = opened(shard(tmp_path / "s.tar", {"a/1.png": 1, "b/2.png": 2}))
    second = opened(shard(tmp_path / "other" / "s.tar", {"a/1.png": 1, "b/2.png": 2}))
    assert first.fingerprint() == second.fingerprint()


def test_reading_after_a_fork(tmp_path):
    path = shard(tmp_path / "s.tar", {f"{k}.png": k for k in range(20)})
    source = opened(path)
    source.load(0)
    child = os.fork()
    if child == 0:
        good = all(reds(source) == list(range(20)) for _ in range(20))
        os._exit(0 if good else 1)
    assert all(reds(source) == list(range(20)) for _ in range(20))
    assert os.waitpid(child, 0)[1] == 0


def test_few_files_are_open_at_once(tmp_path):
    reader = ShardReader(keep=2)
    for k in range(5):
        (tmp_path / str(k)).write_bytes(bytes([k]) * 10)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    for k in (0, 1, 2, 3, 4, 0):
        assert reader.read(str(tmp_path / str(k)), 3, 4) == bytes([k]) * 4
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before + 2
    reader.close()


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a", ["a"]),
        ("a-{08..11}", ["a-08", "a-09", "a-10", "a-11"]),
        ("a-{9..10}", ["a-9", "a-10"]),
        ("{x,y}/{0..1}.tar", ["x/0.tar", "x/1.tar", "y/0.tar", "y/1.tar"]),
    ],
)
def test_braces(pattern, expected):
    assert expand_braces(pattern) == expected
