"""The view that a backbone brings along: from its file, its library, or its image size."""

from __future__ import annotations

import pytest
import tiny
from torchvision.models import ResNet18_Weights

import sslight
from sslight.augment.presets import PRESETS
from sslight.backbones.spec import BackboneSpec
from sslight.checkpoints import save_backbone
from sslight.checkpoints.views import own_view, recorded_view


def test_a_file_of_ours_says_it(tmp_path):
    (view,) = PRESETS["eval"](size=24, mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0))
    save_backbone(tiny.resnet(), tmp_path / "backbone.safetensors", view=view)
    assert recorded_view(tmp_path / "backbone.safetensors") == view
    assert recorded_view(tmp_path) == view
    assert recorded_view(tmp_path / "absent.safetensors") is None


def test_torchvisions_weights_say_it():
    net = tiny.resnet()
    net.backbone_spec = BackboneSpec("resnet18", {"weights": "DEFAULT"})
    view, told = own_view(net), ResNet18_Weights.DEFAULT.transforms()
    assert ([view.size], [view.resized]) == (told.crop_size, told.resize_size)
    assert (view.mean, view.std) == (tuple(told.mean), tuple(told.std))


def test_timms_models_say_it():
    timm = pytest.importorskip("timm")
    net = sslight.backbone("timm/vit_tiny_patch16_224")
    told = timm.data.resolve_data_config(net.pretrained_cfg)
    view = own_view(net)
    assert (view.size, view.interpolation) == (told["input_size"][1], told["interpolation"])
    assert (view.mean, view.std) == (told["mean"], told["std"])
    assert view.resized == int(view.size / told["crop_pct"])


def test_a_transformer_has_a_size_and_a_plain_resnet_has_none():
    assert own_view(tiny.vit()).size == 16
    assert own_view(tiny.resnet()) is None
