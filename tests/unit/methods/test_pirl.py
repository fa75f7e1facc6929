from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sslight.methods.pirl import PIRL


@pytest.fixture(autouse=True)
def _clock(monkeypatch):
    monkeypatch.setattr(PIRL, "clock", SimpleNamespace(epoch=0))


def build(**options) -> PIRL:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return PIRL(net, **{"out_dim": 5, "num_negatives": 4, "num_images": 8, **options})


def batch(views: int = 2) -> dict:
    generator = torch.Generator().manual_seed(1)
    images = [torch.randn(3, 3, 15, 15, generator=generator) for _ in range(views)]
    return {"views": images, "index": torch.tensor([6, 0, 3])}


def test_the_backbone_sees_whole_views_and_nine_patches_each():
    method, seen = build(tile_size=5), []
    method.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    output = method.training_loss(batch())
    assert seen == [(3, 3, 15, 15), (27, 3, 5, 5)]
    assert output.embedding.shape == (3, 6)
    mean = (output.logs["loss_patches"] + output.logs["loss_image"]) / 2
    torch.testing.assert_close(output.loss, mean)


def test_the_memory_follows_the_whole_view_only():
    method, twin, x = build(), build(), batch()
    method.training_loss(x)
    twin.nce.memory.update(x["index"], twin.image_head(twin.backbone(x["views"][0])))
    torch.testing.assert_close(method.nce.memory.rows, twin.nce.memory.rows)


def test_patches_come_in_another_order_each_epoch(monkeypatch):
    method, losses = build(tile_size=5).eval(), []
    for epoch in (0, 0, 1):
        monkeypatch.setattr(PIRL, "clock", SimpleNamespace(epoch=epoch))
        losses.append(method.training_loss(batch()).logs["loss_patches"].item())
    assert losses[0] == losses[1] != losses[2]


def test_the_memory_is_built_from_the_data_and_moves_only_in_training():
    method = build(num_images=None)
    with pytest.raises(ValueError, match="no memory yet"):
        method.training_loss(batch())
    with pytest.raises(ValueError, match=r"set method\.num_images"):
        method.on_data(None, 3)
    method.on_data(20, None)
    before = method.nce.memory.rows.clone()
    assert before.shape == (20, 5)
    method.on_data(20, None)
    with torch.no_grad():
        method.training_loss(batch())
    assert torch.equal(method.nce.memory.rows, before)
    with pytest.raises(ValueError, match="has 20 rows, but the training data has 30 images"):
        method.on_data(30, None)


def test_wrong_views_and_numbers_are_refused():
    with pytest.raises(ValueError, match="has 1 views"):
        build().training_loss(batch(1))
    for options in ({"temperature": 0}, {"num_negatives": 0}, {"patch_weight": 2}):
        with pytest.raises(ValueError, match="use above 0, 1 or more, and 0 to 1"):
            build(**options)
