"""Networks told by the names and shapes of their tensors."""

from __future__ import annotations

import foreign
import pytest
import torch

from sslight.backbones import BACKBONES, backbone, builder
from sslight.backbones.resnet import ARCHITECTURES
from sslight.backbones.vit import SHAPES
from sslight.checkpoints import load_backbone
from sslight.checkpoints.init import recognised, shapes_of
from sslight.checkpoints.rebuild import REGNETS, network_of


def shapes(name: str, **kwargs) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return shapes_of(builder(name)(**kwargs).state_dict())


def test_there_are_architectures_to_tell():
    assert len(ARCHITECTURES) > 10
    assert len(SHAPES) > 10


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_resnet_is_told(name):
    spec, assumed = network_of(shapes(name))
    assert (spec.name, spec.kwargs, assumed) == (name, {}, "")


@pytest.mark.parametrize("name", SHAPES)
def test_every_transformer_is_told(name):
    spec, assumed = network_of(shapes(name))
    assert (spec.name, spec.kwargs) == (name, {})
    assert assumed == f"{SHAPES[name].heads} attention heads"


@pytest.mark.parametrize(
    "name",
    ["densenet121", "convnext_tiny", "efficientnet_b0"],
)
def test_torchvisions_families_are_told(name):
    spec, _ = network_of(shapes(name))
    assert (spec.name, spec.kwargs) == (name, {})


def test_every_regnet_is_in_the_table():
    assert set(REGNETS.values()) == {name for name in BACKBONES if name.startswith("regnet_")}


@pytest.mark.parametrize("name", ["regnet_x_400mf", "regnet_y_400mf", "regnet_y_800mf"])
def test_regnets_are_told_by_their_last_stage(name):
    built = backbone(name)
    spec, _ = network_of(shapes_of(built.state_dict()))
    assert (spec.name, spec.kwargs) == (name, {})
    assert REGNETS[built.embed_dim] == name


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("resnet18", {"width": 32, "stem": "small"}),
        ("resnet50", {"width": 128}),  # VISSL's wide ones
        ("wide_resnet50_2", {"width": 128}),  # SwAV's, whose inner width grows too
        ("resnet50", {"in_channels": 1}),
        ("resnet50", {"extra": {"groups": 2, "width_per_group": 48}}),
        ("vit_s_16", {"image_size": 32, "patch_size": 4}),
        ("vit_s_14", {"image_size": 518, "layer_scale": 1e-5}),
        ("vit_b_14", {"image_size": 518, "layer_scale": 1e-5, "registers": 4}),
        ("vit_l_14", {"mlp": "swiglu", "registers": 4, "layer_scale": 1e-5}),
        ("vit_g_14", {"mlp": "gelu"}),
        ("vit_h_14", {"class_token": False, "pooling": "avg"}),  # I-JEPA's
        ("vit_s_16", {"depth": 5, "in_channels": 6}),
    ],
)
def test_other_forms_are_told_and_built_alike(name, kwargs):
    found = shapes(name, **kwargs)
    spec, _ = network_of(found)
    assert shapes(spec.name, **spec.kwargs) == found
    if name != "vit_s_16":
        assert (spec.name, spec.kwargs) == (name, kwargs)


@pytest.mark.parametrize(
    ("missing", "name"), [("norm.weight", "vit_t_16"), ("blocks.0.attn.qkv.bias", "vit_t_16")]
)
def test_networks_that_sslight_has_not_are_not_guessed(missing, name):
    found = shapes(name)
    del found[missing]
    assert network_of(found) is None
    assert network_of({"features.0.weight": (3, 3, 3, 3)}) is None


def test_a_file_alone_becomes_a_backbone_that_can_be_saved_again(tmp_path):
    from sslight.checkpoints import save_backbone

    torch.manual_seed(0)
    original = backbone("resnet10", width=8, stem="small").eval()
    torch.save(foreign.moco_v2(original.state_dict()), tmp_path / "moco.pth.tar")
    loaded = load_backbone(tmp_path / "moco.pth.tar")
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(loaded(images), original(images), rtol=0, atol=0)
    text = str(loaded.report)
    assert "(MoCo v1, v2): 72 matched, 0 missing" in text
    assert "prefix 'state_dict.module.encoder_q.' stripped" in text
    assert "assumed: a 3x3 first convolution of stride 1" in text
    save_backbone(loaded.backbone, tmp_path / "mine")
    torch.testing.assert_close(load_backbone(tmp_path / "mine.safetensors")(images), loaded(images))


def test_a_file_that_tells_no_network_says_how_to_name_it(tmp_path):
    torch.save({"first.weight": torch.ones(2, 2)}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"first: first\.weight[\s\S]*init=[\s\S]*backbone=\.\.\."):
        load_backbone(tmp_path / "x.pth")


def test_the_wrong_backbone_is_told_which_would_be_right(tmp_path):
    torch.save(backbone("resnet10", width=8).state_dict(), tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"`backbone: \{name: resnet10, width: 8\}`"):
        load_backbone("resnet18", init=tmp_path / "x.pth")


def test_wrapping_and_network_are_found_together():
    names = foreign.under("teacher.backbone.", dict(backbone("vit_t_16").state_dict()))
    reading, spec, _ = recognised(names)
    assert (str(reading), spec.name) == ("DINO, iBOT, DINOv2", "vit_t_16")
