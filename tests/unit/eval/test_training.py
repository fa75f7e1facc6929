from __future__ import annotations

import pytest
from unit.eval.image_subject import Noted, image_subject

from sslight.data.datamodule import SSLDataModule
from sslight.data.sources.fake import Fake
from sslight.errors import RefusedRunError
from sslight.eval import Subject
from sslight.eval._training import fitting_batch, known_labels, views


def test_views_are_the_backbones():
    """Normalisation and interpolation travel on; a crop, a flip and the size are the protocol's."""
    subject = image_subject("unused", Noted())
    crop, clean = views(subject, None, (0.3, 1.0))
    assert clean == subject.clean_view
    assert (crop.mean, crop.std, crop.interpolation) == (clean.mean, clean.std, clean.interpolation)
    assert crop.scale == (0.3, 1.0)
    assert [view.size for view in views(subject, 32, (0.3, 1.0))] == [32, 32]


@pytest.mark.parametrize(("images", "batch"), [(256, 256), (255, 128), (10, 8), (1, 1)])
def test_few_images_make_small_batches(images, batch):
    assert fitting_batch(256, images) == batch


def test_images_without_labels_are_refused():
    data = SSLDataModule(Fake(8, size=8, num_classes=0), workers=0)
    with pytest.raises(RefusedRunError, match="have no labels"):
        known_labels(Subject("unused", datamodule=data), "train", "finetune")
    assert (known_labels(image_subject("unused", Noted()), "train", "finetune") >= 0).all()
