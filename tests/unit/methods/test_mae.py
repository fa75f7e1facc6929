from __future__ import annotations

from types import SimpleNamespace

import pytest
import tiny
import torch
from torch import nn

from sslight.backbones import backbone
from sslight.errors import RefusedRunError
from sslight.losses.mae import mae_loss
from sslight.methods.mae import MAE


@pytest.fixture(autouse=True)
def epoch(monkeypatch):
    monkeypatch.setattr(MAE, "clock", property(lambda self: SimpleNamespace(epoch=0)))


def method(**options) -> MAE:
    torch.manual_seed(0)
    return MAE(tiny.vit(), decoder_dim=16, decoder_depth=1, decoder_heads=4, **options)


def batch(views: int = 1) -> dict:
    generator = torch.Generator().manual_seed(1)
    images = [torch.randn(4, 3, 16, 16, generator=generator) for _ in range(views)]
    return {"views": images, "index": torch.tensor([4, 0, 9, 2])}


def seen_by_encoder(mae: MAE, data: dict) -> torch.Tensor:
    kept = []
    tokens = mae.backbone.tokens
    mae.backbone.tokens = lambda images, keep: kept.append(keep) or tokens(images, keep=keep)
    mae.training_loss(data)
    del mae.backbone.tokens
    return kept[0]


def test_loss_is_the_error_of_the_patches_the_encoder_did_not_see():
    mae, data = method(), batch()
    keep = seen_by_encoder(mae, data)
    assert keep.shape == (4, 4)  # a quarter of 16 patches
    (images,) = data["views"]
    tokens = mae.backbone.tokens(images, keep=keep)
    mask = torch.ones(4, 16, dtype=torch.bool).scatter(1, keep, False)
    output = mae.training_loss(data)
    expected = mae_loss(mae.decoder(tokens, keep, (4, 4)), images, mask, 4)
    torch.testing.assert_close(output.loss, expected)
    torch.testing.assert_close(output.embedding, tokens[:, 0])


def test_hidden_pixels_do_not_reach_the_embedding():
    mae, data = method(), batch()
    keep = seen_by_encoder(mae, data)
    hidden = torch.ones(4, 16).scatter(1, keep, 0.0).view(4, 1, 4, 4)
    hidden = hidden.repeat_interleave(4, 2).repeat_interleave(4, 3)
    changed = {**data, "views": [data["views"][0] + 3 * hidden]}
    before, after = mae.training_loss(data), mae.training_loss(changed)
    torch.testing.assert_close(before.embedding, after.embedding)
    torch.testing.assert_close(before.loss, after.loss)  # normalised targets forget an offset


def test_views_are_masked_differently_and_put_one_after_the_other():
    mae, data = method(), batch(2)
    keep = seen_by_encoder(mae, data)
    assert keep.shape == (8, 4)
    assert not torch.equal(keep[:4], keep[4:])
    assert mae.training_loss(data).embedding.shape == (8, 32)


def test_positions_are_fixed_unless_they_are_to_learn():
    fixed, learnt = method(), method(fixed_positions=False)
    assert not fixed.backbone.pos_embed.requires_grad
    assert learnt.backbone.pos_embed.requires_grad
    fixed.training_loss(batch()).loss.backward()
    assert fixed.backbone.pos_embed.grad is None


def test_plain_pixels_and_other_backbones():
    mae, data = method(norm_pix=False), batch()
    assert not torch.equal(mae.training_loss(data).loss, method().training_loss(data).loss)
    options = {"image_size": 16, "patch_size": 4, "width": 32, "heads": 2, "depth": 1}
    net = backbone("vit_t_16", class_token=False, pooling="avg", in_channels=2, **options)
    other = MAE(net, decoder_dim=16, decoder_depth=1, decoder_heads=4)
    data = {"views": [torch.randn(4, 2, 16, 16)], "index": torch.arange(4)}
    assert other.training_loss(data).loss.isfinite()


def test_errors():
    with pytest.raises(ValueError, match=r"mask_ratio is 1\.0"):
        method(mask_ratio=1.0)
    with pytest.raises(RefusedRunError, match="reads patch tokens"):
        MAE(tiny.Net())
    net = nn.Linear(3, 4)
    net.embed_dim, net.tokens = 4, None
    with pytest.raises(RefusedRunError, match="fixed_positions: false"):
        MAE(net)
