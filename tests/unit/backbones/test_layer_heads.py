"""Heads on several layers: shapes, batch norm over channels, one forward for all of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import sslight
from sslight.backbones.layer_heads import LayerHeads
from sslight.backbones.layers import LayerReader

#: VISSL's map of a ResNet-50: about 9000 features a layer, at 224 px.
VISSL = {
    "conv1": "avg_k10_s10_p4+bn",
    "res2": "avg_k16_s8+bn",
    "res3": "avg_k13_s5+bn",
    "res4": "avg_k8_s3+bn",
    "res5": "avg_k6_s1+bn",
    "res5avg": "none+bn",
    "embedding": "none",
}


@pytest.fixture
def resnet():
    torch.manual_seed(0)
    return sslight.backbone("resnet10", width=8, stem="small").eval()


def test_the_widths_are_vissls():
    with torch.device("meta"):
        heads = LayerHeads(sslight.backbone("resnet50"), VISSL, 224, 1000)
    widths = [head.linear.in_features for head in heads.heads.values()]
    assert widths == [9216, 9216, 8192, 9216, 8192, 2048, 2048]
    norms = [getattr(head.norm, "num_features", None) for head in heads.heads.values()]
    assert norms == [64, 256, 512, 1024, 2048, 2048, None]


def test_logits_are_batch_norm_and_a_linear_layer_by_hand(resnet):
    torch.manual_seed(1)
    heads = LayerHeads(resnet, {"res4": "avg2+bn", "res5": "none", "embedding": "none"}, 32, 5)
    images = torch.randn(6, 3, 32, 32)
    features = heads.features(images)
    logits = heads(features)
    layers = LayerReader(resnet, {"res4": "none", "res5": "none"})(images)
    grid = nn.functional.adaptive_avg_pool2d(layers["res4"], 2)
    normed = nn.BatchNorm2d(32)(grid)
    expected = heads.heads["res4"].linear(normed.flatten(1))
    torch.testing.assert_close(logits["res4"], expected)
    torch.testing.assert_close(
        logits["res5"], heads.heads["res5"].linear(layers["res5"].flatten(1))
    )
    torch.testing.assert_close(heads.embedding(features), resnet(images))


def test_a_layer_may_come_twice_and_the_backbone_is_no_part(resnet):
    heads = LayerHeads(
        resnet, ["res5avg:none+bn", "res5avg:none", "res4:avg2", "res4", "layer4.0.conv1"], 32, 3
    )
    assert heads.names == ["res5avg+bn", "res5avg", "res4-avg2", "res4-avg", "layer4_0_conv1"]
    assert all(name.startswith("heads.") for name in heads.state_dict())
    assert set(heads(heads.features(torch.randn(2, 3, 32, 32)))) == set(heads.names)


def test_tokens_are_normalised_by_width():
    vit = sslight.backbone("vit_t_16", image_size=16, patch_size=4, width=12, heads=2, depth=2)
    heads = LayerHeads(vit, {"tokens": "tokens+bn", "block1": "cls", "block0": "avg2+bn"}, 16, 4)
    shapes = {name: head.linear.in_features for name, head in heads.heads.items()}
    assert shapes == {"tokens": 16 * 12, "block1": 12, "block0": 48}
    assert heads.heads["tokens"].norm.num_features == 12
    assert heads(heads.features(torch.randn(3, 3, 16, 16)))["tokens"].shape == (3, 4)


def test_mistakes_are_sentences(resnet):
    with pytest.raises(ValueError, match="each once"):
        LayerHeads(resnet, ["res5", "res5"], 32, 3)
    with pytest.raises(ValueError, match=r"window is larger than the map, which is 4 x 4"):
        LayerHeads(resnet, {"res5": "avg_k6_s1"}, 32, 3)
    heads = LayerHeads(resnet, {"res5": "avg"}, 32, 3)
    with pytest.raises(ValueError, match="the images are 16 px, but image_size is 32"):
        heads.features(torch.zeros(1, 3, 16, 16))
