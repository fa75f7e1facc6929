"""Parts of a split."""

import numpy as np
import pytest
import torch

from sslight.data.limit import Limit, Subset, limit_rows
from sslight.data.sources.fake import Fake


def test_a_limit_is_a_seeded_choice_without_replacement():
    rows = limit_rows(None, 1000, Limit(100))
    assert rows.dtype == np.int64
    assert len(np.unique(rows)) == 100
    assert (np.diff(rows) > 0).all()
    assert rows.max() > 900
    np.testing.assert_array_equal(rows, limit_rows(None, 1000, Limit(100)))
    assert set(rows) != set(limit_rows(None, 1000, Limit(100, seed=1)))


def test_skip_leaves_out_exactly_the_smaller_limit():
    first = limit_rows(None, 50, Limit(20))
    rest = limit_rows(None, 50, Limit(30, skip=20))
    assert sorted([*first, *rest]) == list(range(50))
    assert set(limit_rows(None, 50, Limit(10))) < set(first)


def test_a_balanced_limit_gives_the_remainder_to_the_first_classes():
    labels = np.array([5, 2, 9, -1] * 50)
    rows = limit_rows(labels, 200, Limit(32, balanced=True))
    kept, counts = np.unique(labels[rows], return_counts=True)
    assert (kept.tolist(), counts.tolist()) == ([2, 5, 9], [11, 11, 10])
    assert rows.max() > 100
    first = limit_rows(labels, 200, Limit(33, balanced=True))
    assert set(rows) < set(first)
    rest = limit_rows(labels, 200, Limit(117, balanced=True, skip=33))
    assert not set(first) & set(rest)
    assert sorted([*first, *rest]) == np.flatnonzero(labels >= 0).tolist()


def test_fewer_images_than_classes_takes_one_each_of_the_first():
    labels = np.arange(10)
    np.testing.assert_array_equal(limit_rows(labels, 10, Limit(3, balanced=True)), [0, 1, 2])


@pytest.mark.parametrize(
    ("labels", "limit", "said"),
    [
        (None, Limit(11), "asks for 11 images, but the split has 10"),
        (None, Limit(8, skip=3), "8 images after 3 skipped ones, but the split has 10"),
        (None, Limit(2, balanced=True), "balanced needs labels"),
        (np.full(10, -1), Limit(2, balanced=True), "balanced needs labels"),
        (np.zeros((10, 4), np.int8), Limit(2, balanced=True), "4 columns"),
        (np.array([0] * 9 + [1]), Limit(4, balanced=True), r"classes with fewer: 1 \(1 images\)"),
    ],
)
def test_what_cannot_be_had(labels, limit, said):
    with pytest.raises(ValueError, match=said):
        limit_rows(labels, 10, limit)


@pytest.mark.parametrize("bad", [{"num": 0}, {"num": 1, "skip": -1}, {"num": 1, "seed": -1}])
def test_bad_limits(bad):
    with pytest.raises(ValueError, match=r"data\.limit"):
        Limit(**bad)


def test_a_subset_is_the_source_in_another_order():
    source = Fake(num_images=20, size=8, num_classes=4)
    source.split = "val"
    source.open()
    subset = Subset(source, np.array([7, 2, 13]))
    assert len(subset) == 3
    assert [subset.id(i) for i in range(3)] == ["fake/val/7", "fake/val/2", "fake/val/13"]
    assert torch.equal(subset.load(1), source.load(2))
    assert (subset.split, subset.random) == ("val", False)
    np.testing.assert_array_equal(subset.labels, [3, 2, 1])
    assert subset.classes == source.classes
    assert subset.fingerprint() not in (
        source.fingerprint(),
        Subset(source, np.array([2, 7, 13])).fingerprint(),
    )


def test_a_subset_opens_and_aligns_its_source():
    source = Fake(num_images=20, size=8, num_classes=3)
    subset = Subset(source, np.array([4, 5]))
    assert subset.labels is None
    subset.split = "test"
    subset.open()
    np.testing.assert_array_equal(subset.labels, [1, 2])
    assert subset.id(0) == "fake/test/4"
    subset.align(["2", "1", "0"])
    np.testing.assert_array_equal(subset.labels, [1, 0])
    assert subset.classes == ["2", "1", "0"]
    with pytest.raises(ValueError, match="not among"):
        subset.align(["a"])


def test_rows_out_of_range():
    source = Fake(num_images=3, size=8)
    for rows in ([3], [-1, 0]):
        with pytest.raises(IndexError, match="3 images"):
            Subset(source, np.array(rows))
    with pytest.raises(IndexError, match="image 1 of a subset of 1"):
        Subset(source, np.array([2])).load(1)
