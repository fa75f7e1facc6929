from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

import sslight
from sslight.modules.drop import without_drop


def test_a_training_network_becomes_deterministic_and_its_batch_norm_still_trains():
    net = nn.Sequential(
        nn.Linear(4, 4), nn.Dropout(0.5), StochasticDepth(0.5, "row"), nn.BatchNorm1d(4)
    ).train()
    x = torch.randn(32, 4)
    assert not torch.equal(net(x), net(x))
    assert without_drop(net) is net
    assert torch.equal(net(x), net(x))
    assert net.training
    assert net[3].num_batches_tracked == 4


@pytest.mark.parametrize("kind", ["dropout", "attention_drop", "drop_path"])
def test_transformers(kind):
    vit = sslight.backbone("vit_t_16", image_size=16, patch_size=4, depth=2, **{kind: 0.5})
    attention = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True)
    images, x = torch.randn(2, 3, 16, 16), torch.randn(2, 5, 8)
    assert not torch.equal(vit.train()(images), vit(images))
    assert torch.equal(without_drop(vit)(images), vit(images))
    without_drop(attention.train())
    assert torch.equal(attention(x, x, x)[0], attention(x, x, x)[0])


def test_timm():
    timm = pytest.importorskip("timm")
    net = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, depth=2, drop_path_rate=0.5, attn_drop_rate=0.5
    )
    images = torch.randn(2, 3, 32, 32)
    assert not torch.equal(net.train()(images), net(images))
    assert torch.equal(without_drop(net)(images), net(images))
