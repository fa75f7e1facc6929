"""The embedded dataset: deterministic, balanced, hard for pixels."""

import hashlib
import pickle

import numpy as np
import pytest
import torch

from sslight.data.sources import shapes
from sslight.data.sources.shapes import Shapes


def opened(split="train", **options):
    source = Shapes(**options)
    source.split = split
    source.open()
    return source


def pixels(source):
    return torch.stack([source.load(i) for i in range(len(source))])


def knn_accuracy(train, test, k=20, temperature=0.07):
    """Cosine kNN on ImageNet-normalised pixels, votes weighted by exp(similarity / temperature)."""
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    flat = [((pixels(s) / 255 - mean) / std).flatten(1) for s in (train, test)]
    bank, query = (torch.nn.functional.normalize(x, dim=1) for x in flat)
    similarity, rows = (query @ bank.T).topk(k)
    labels = torch.from_numpy(train.labels)[rows]
    votes = torch.zeros(len(query), 10).scatter_add_(1, labels, (similarity / temperature).exp())
    return (votes.argmax(1) == torch.from_numpy(test.labels)).float().mean().item()


def test_images_are_uint8_rgb_of_the_asked_size():
    for size in (8, 33, 96):
        image = opened(num_images=2, size=size).load(1)
        assert image.dtype == torch.uint8
        assert image.shape == (3, size, size)
        assert image.float().std() > 10


def test_labels_are_balanced_and_shuffled():
    labels = opened(num_images=1005).labels
    assert labels.dtype == np.int64
    assert set(np.bincount(labels)) <= {100, 101}
    for block in labels[:1000].reshape(-1, 10):
        assert sorted(block) == list(range(10))
    assert len(np.unique(labels[:1000].reshape(-1, 10), axis=0)) > 90


def test_an_image_does_not_depend_on_the_number_of_images_or_on_who_drew_it(monkeypatch):
    many = opened(num_images=700)
    few = opened(num_images=150)
    assert torch.equal(pixels(few), pixels(many)[:150])
    np.testing.assert_array_equal(few.labels, many.labels[:150])
    monkeypatch.setattr(shapes, "_KEPT", 0)
    one_by_one = opened(num_images=700)
    assert one_by_one._images is None
    rows = [3, *range(640, 700)]
    assert all(torch.equal(one_by_one.load(i), many.load(i)) for i in reversed(rows))


def test_splits_and_seeds_share_nothing():
    options = {"num_images": 300}
    train, test = opened(**options), opened("test", **options)
    other = opened(seed=1, **options)
    found = [{x.numpy().tobytes() for x in pixels(s)} for s in (train, test, other)]
    assert len(set.union(*found)) == 900
    assert len({s.fingerprint() for s in (train, test, other)}) == 3
    assert train.fingerprint() == opened(**options).fingerprint()


def test_another_size_is_the_same_scene():
    small, large = opened(num_images=20, size=16), opened(num_images=20, size=64)
    reduced = torch.nn.functional.avg_pool2d(pixels(large).float(), 4)
    error = (reduced - pixels(small).float()).abs().mean()
    shuffled = (reduced.roll(1, 0) - pixels(small).float()).abs().mean()
    assert error < 5
    assert shuffled > 40


def test_a_crop_shows_the_class_but_pixels_do_not():
    accuracy = knn_accuracy(opened(num_images=3000), opened("test", num_images=500))
    assert 0.05 < accuracy < 0.35


def test_the_pictures_of_a_seed_stay_the_same():
    """A seed names a dataset: whoever changes the drawing has to change the version, and say so."""
    mean = pixels(opened(num_images=50)).float().mean((0, 2, 3))
    labels = opened(num_images=20).labels
    assert hashlib.sha256(labels.tobytes()).hexdigest()[:12] == "c7f7f403dfce"
    torch.testing.assert_close(
        mean, torch.tensor([131.0696, 130.5273, 128.9308]), atol=0.05, rtol=0
    )


def test_ids_and_ranges():
    source = opened("val", num_images=4)
    assert source.id(3) == "shapes/val/3"
    assert len(source) == 4
    for bad in (-1, 4):
        with pytest.raises(IndexError, match=f"image {bad} of 4"):
            source.load(bad)


def test_open_draws_once_and_pickles(monkeypatch):
    source = opened(num_images=40)
    first = source.load(0)
    source.open()
    assert source.load(0).data_ptr() == first.data_ptr()
    copy = pickle.loads(pickle.dumps(source))
    assert torch.equal(copy.load(7), source.load(7))
    np.testing.assert_array_equal(copy.labels, source.labels)


def test_aligning_renumbers_labels_and_leaves_the_pictures():
    source, plain = opened(num_images=30), opened(num_images=30)
    source.align(source.classes[::-1])
    np.testing.assert_array_equal(source.labels, 9 - plain.labels)
    assert torch.equal(pixels(source), pixels(plain))


def test_bad_arguments():
    for options in ({"num_images": 0}, {"size": 4}):
        with pytest.raises(ValueError, match="at least"):
            Shapes(**options)


def lying_edges(images):
    """Share of the gradient's energy that is vertical: 0.5 if edges lie in any direction."""
    grey = images.float().mean(1)
    down, across = grey.diff(dim=1).square().sum(), grey.diff(dim=2).square().sum()
    return (down / (down + across)).item()


def test_tilt_keeps_shapes_upright():
    turned, leaning = opened(num_images=400), opened(num_images=400, tilt=10)
    bars = torch.from_numpy(turned.labels == turned.classes.index("bars"))
    assert abs(lying_edges(pixels(turned)[bars]) - 0.5) < 0.05
    assert lying_edges(pixels(leaning)[bars]) > 0.6
    assert turned.fingerprint() == opened(num_images=400, tilt=180).fingerprint()
    assert turned.fingerprint() != leaning.fingerprint()


def test_tilt_is_an_angle():
    with pytest.raises(ValueError, match="0 to 180 degrees, got 200"):
        Shapes(tilt=200)


def test_single_shapes_fill_the_middle():
    several, single = opened(num_images=200), opened(num_images=200, single=True)
    disks = torch.from_numpy(single.labels == single.classes.index("disk"))
    grey = pixels(single)[disks].float().mean(1)
    middle, corner = grey[:, 12:20, 12:20], grey[:, :4, :4]
    contrast = (middle.mean((1, 2)) - corner.mean((1, 2))).abs()
    assert contrast.min() > 40
    assert several.fingerprint() != single.fingerprint()
