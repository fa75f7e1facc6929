from __future__ import annotations

from pathlib import Path

import pytest

from sslight.errors import RefusedRunError
from sslight.scaffold import survey


def test_a_flat_folder(images):
    images("photos", 9, side=40)
    seen = survey("photos")
    assert seen.roots == {"train": "photos"}
    assert (seen.train.total, seen.side, seen.labelled, seen.grey) == (9, 40, False, False)


def test_folders_of_classes(images):
    images("photos/cat", 5)
    images("photos/dog", 5)
    seen = survey("photos")
    assert seen.train.labels.counts == {"cat": 5, "dog": 5}


def test_one_folder_deeper_without_classes(images):
    images("data/images", 9, grey=True)
    seen = survey("data")
    assert seen.roots == {"train": "data"}
    assert not seen.labelled
    assert seen.grey


@pytest.mark.parametrize(
    ("folders", "roots"),
    [
        (("train", "test"), {"train": "d/train", "test": "d/test"}),
        (("Training", "Validation"), {"train": "d/Training", "test": "d/Validation"}),
        (("train", "test", "val"), {"train": "d/train", "test": "d/test", "val": "d/val"}),
        (("train", "pictures"), {"train": "d/train"}),
    ],
)
def test_parts_are_known_by_their_names(images, folders, roots):
    for name in folders:
        images(f"d/{name}/a", 5)
        images(f"d/{name}/b", 4)
    assert survey("d").roots == roots


def test_a_test_folder_of_other_classes_is_left_out(images):
    for folder in ("train/a", "train/b", "test/a", "test/c"):
        images(f"d/{folder}", 5)
    seen = survey("d")
    assert seen.roots == {"train": "d/train"}
    assert seen.notes == ("d/test is left out: train lacks its classes c.",)


def test_mistakes_are_sentences(images):
    with pytest.raises(RefusedRunError, match="nowhere does not exist"):
        survey("nowhere")
    images("few", 7)
    with pytest.raises(RefusedRunError, match=r"few/0\.png is a file"):
        survey("few/0.png")
    with pytest.raises(RefusedRunError, match="holds 7 images"):
        survey("few")


def test_an_empty_folder_and_one_of_other_files():
    Path("empty").mkdir()
    with pytest.raises(RefusedRunError, match=r"no image under .*empty\. Found nothing"):
        survey("empty")
    Path("shards").mkdir()
    Path("shards/0.tar").touch()
    with pytest.raises(RefusedRunError, match=r"Found 1 .tar.* 0.tar may hold images: .*`tar`"):
        survey("shards")
    Path("broken").mkdir()
    for number in range(9):
        Path(f"broken/{number}.jpg").write_bytes(b"junk")
    with pytest.raises(RefusedRunError, match="none of the 9 images opened in broken can be read"):
        survey("broken")
