from __future__ import annotations

import pytest
import torchvision

from sslight.backbones import backbone
from sslight.optim.layer_depth import layer_depths


def by_name(module) -> tuple[dict[str, int], int]:
    names = [f"backbone.body.{name}" for name, _ in module.named_parameters()]
    depths, deepest = layer_depths(names)
    short = [name.removeprefix("backbone.body.") for name in names]
    return dict(zip(short, depths, strict=True)), deepest


def test_resnet():
    depths, deepest = by_name(torchvision.models.resnet18(num_classes=3))
    assert deepest == 4
    assert depths["conv1.weight"] == depths["bn1.bias"] == 0
    assert depths["layer1.0.conv1.weight"] == 1
    assert depths["layer4.1.bn2.weight"] == 4
    assert depths["fc.weight"] == 4


def test_torchvision_vit():
    vit = torchvision.models.VisionTransformer(32, 16, 3, 2, 8, 16)
    depths, deepest = by_name(vit)
    assert deepest == 3
    assert depths["class_token"] == depths["conv_proj.weight"] == 0
    assert depths["encoder.pos_embedding"] == 0
    assert depths["encoder.layers.encoder_layer_0.ln_1.weight"] == 1
    assert depths["encoder.layers.encoder_layer_2.mlp.0.weight"] == 3
    assert depths["encoder.ln.weight"] == 3


def test_timm_vit():
    timm = pytest.importorskip("timm")
    depths, deepest = by_name(timm.create_model("vit_tiny_patch16_224", num_classes=0))
    assert deepest == 12
    assert depths["cls_token"] == depths["pos_embed"] == depths["patch_embed.proj.weight"] == 0
    assert depths["blocks.11.mlp.fc2.bias"] == 12
    assert depths["norm.weight"] == 12


def test_own_vit():
    depths, deepest = by_name(
        backbone(
            "vit_t_16", image_size=16, width=16, heads=2, depth=3, registers=1, mask_token=True
        )
    )
    assert deepest == 3
    first = ("cls_token", "reg_token", "pos_embed", "mask_token", "patch_embed.proj.weight")
    assert [depths[name] for name in first] == [0] * 5
    assert [depths[f"blocks.{i}.attn.qkv.weight"] for i in range(3)] == [1, 2, 3]
    assert depths["norm.weight"] == 3


def test_without_blocks_it_says_what_it_found():
    with pytest.raises(ValueError, match=r"numbered blocks.*such as stem.weight, stem.bias"):
        layer_depths(["stem.weight", "stem.bias"])
