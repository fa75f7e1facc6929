from __future__ import annotations

import numpy as np
import pytest
from unit.eval.image_subject import Noted, image_subject

from sslight.errors import RefusedRunError
from sslight.eval.semi_supervised import SemiSupervised, listed_rows


def parts(tmp_path, **options) -> dict[str, np.ndarray]:
    trainer = Noted()
    result = SemiSupervised(**options).evaluate(image_subject(tmp_path, trainer, 400))
    for row, (_, training) in zip(result.rows, trainer.asked, strict=True):
        assert row["images"] == len(training.rows) >= training.batch_size
    assert all(f"{row['part']}/top1" in result.metrics for row in result.rows)
    return {label: training.rows for label, training in trainer.asked}


def test_parts_are_balanced_nested_and_follow_the_seed(tmp_path):
    drawn = parts(tmp_path, percent=[10, 50])
    small, large = drawn["semi_supervised-10pct"], drawn["semi_supervised-50pct"]
    assert set(small) < set(large)
    assert (len(small), len(large)) == (40, 200)
    labels = image_subject(tmp_path, Noted(), 400).source("train").labels
    counts = np.bincount(labels[large])
    assert counts.max() - counts.min() <= 1
    again, other = (parts(tmp_path, percent=[10], seed=seed) for seed in (0, 1))
    assert np.array_equal(again["semi_supervised-10pct"], small)
    assert not np.array_equal(other["semi_supervised-10pct"], small)


def test_a_part_has_every_class_and_a_batch_that_fits(tmp_path):
    trainer = Noted()
    SemiSupervised(percent=[1]).evaluate(image_subject(tmp_path, trainer, 400))
    ((_, training),) = trainer.asked
    labels = image_subject(tmp_path, Noted(), 400).source("train").labels
    assert set(labels[training.rows]) == set(labels)
    assert training.batch_size == 8  # the largest power of two of ten images


def test_lists_name_images_by_the_end_of_their_path(tmp_path):
    names = ["/data/a/x.JPEG", "/data/b/x.JPEG", "/data/b/y.png"]
    listed = tmp_path / "part.txt"
    listed.write_text("b/x.JPEG\ny\n\n")
    assert listed_rows(names, listed, "mine").tolist() == [1, 2]
    for text, said in (("x.JPEG", "2 images"), ("z", "no image"), ("", "names no image")):
        listed.write_text(text)
        with pytest.raises(RefusedRunError, match=said):
            listed_rows(names, listed, "mine")
    with pytest.raises(RefusedRunError, match=r"absent.txt \(mine\) cannot be read: No such file"):
        listed_rows(names, tmp_path / "absent.txt", "mine")
    listed.write_text("\n".join(f"shapes/train/{i}" for i in range(0, 400, 40)))
    drawn = parts(tmp_path, lists={"my list": listed})
    assert drawn["semi_supervised-my_list"].tolist() == list(range(0, 400, 40))


def test_mistakes_are_refused():
    for percent in ([], [0.0], [101]):
        with pytest.raises(ValueError, match="above 0, at most 100"):
            SemiSupervised(percent=percent)
