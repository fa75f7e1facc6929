from __future__ import annotations

import torch

from sslight.data.batch import convert_images


def test_images_take_the_type_and_nothing_else_does():
    batch = {
        "views": [torch.ones(2, 3, 4, 4)] * 2,
        "anchors": [torch.ones(2, 3, 8, 8)],
        "label": torch.tensor([0, 1]),
        "target": torch.ones(2),
    }
    convert_images(batch, lambda images: images.bfloat16())
    types = [image.dtype for key in ("views", "anchors") for image in batch[key]]
    assert types == [torch.bfloat16] * 3
    assert batch["label"].dtype == torch.int64
    assert batch["target"].dtype == torch.float32


def test_a_batch_without_anchors():
    batch = {"views": [torch.ones(1, 3, 4, 4)]}
    convert_images(batch, lambda images: images.double())
    assert batch["views"][0].dtype == torch.float64
