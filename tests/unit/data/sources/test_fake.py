"""Noise for benchmarks."""

import numpy as np
import pytest
import torch

from sslight.data.sources.fake import Fake


def test_noise_is_deterministic_uniform_and_different_for_each_row_and_split():
    source, other = Fake(num_images=5, size=40, channels=4), Fake(num_images=5, size=40, channels=4)
    other.split = "test"
    image = source.load(2)
    assert image.shape == (4, 40, 40)
    assert image.dtype == torch.uint8
    assert (image.min(), image.max()) == (0, 255)
    assert abs(image.float().mean() - 127.5) < 4
    assert torch.equal(image, source.load(2))
    assert not torch.equal(image, source.load(3))
    assert not torch.equal(image, other.load(2))


def test_labels():
    source = Fake(num_images=7, size=8, num_classes=3)
    source.open()
    np.testing.assert_array_equal(source.labels, [0, 1, 2, 0, 1, 2, 0])
    assert source.classes == ["0", "1", "2"]
    unlabelled = Fake(num_images=7, size=8, num_classes=0)
    unlabelled.open()
    assert unlabelled.labels is None
    assert source.fingerprint() != unlabelled.fingerprint()


def test_ids_ranges_and_bad_arguments():
    source = Fake(num_images=3, size=8)
    assert source.id(2) == "fake/train/2"
    with pytest.raises(IndexError, match="image 3 of 3"):
        source.load(3)
    for name in ("num_images", "size", "channels"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1"):
            Fake(**{name: 0})
    with pytest.raises(ValueError, match="num_classes"):
        Fake(num_classes=-1)
