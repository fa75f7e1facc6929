"""Features of imported weights equal those of the architecture that the weights come from.

The originals are torchvision's, timm's and lightly's own classes, and timm's own importers of
DINOv2's and VISSL's names; batch norms get statistics that a mistake would show.
"""

from __future__ import annotations

import copy

import foreign
import pytest
import torch
from torch import nn

from sslight.backbones import backbone
from sslight.checkpoints import load_backbone


def stirred(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module with every tensor drawn anew, in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in [*module.parameters(), *module.buffers()]:
        if tensor.dtype.is_floating_point:
            noise = torch.rand(tensor.shape, generator=generator)
            tensor.data = noise + 0.5 if tensor.ndim == 1 else (noise - 0.5) / 3
    return module.eval()


def headless(model: nn.Module) -> nn.Module:
    """A torchvision network whose output is what its classifier read."""
    model = copy.deepcopy(model)
    model.fc = nn.Identity()
    return model


def equal(loaded, expected: torch.Tensor, images: torch.Tensor) -> None:
    scale = float(expected.abs().max())
    assert scale > 1e-3
    with torch.no_grad():
        found = loaded(images)
    torch.testing.assert_close(found / scale, expected / scale, rtol=1e-4, atol=1e-5)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


# --- torchvision and projects that train its ResNets ------------------------------------------


FILES = [foreign.vissl, foreign.moco_v2, foreign.swav, foreign.lightly, foreign.plain]


@pytest.mark.parametrize("file", FILES)
def test_resnets_as_projects_hold_them(tmp_path, images, file):
    from torchvision.models.resnet import BasicBlock, ResNet

    original = headless(stirred(ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3)))
    torch.save(file(original.state_dict()), tmp_path / "x.pth")
    equal(load_backbone(tmp_path / "x.pth"), original(images).detach(), images)


def test_a_classifier_is_left_behind_and_said(tmp_path, images):
    from torchvision.models import resnet18

    original = stirred(resnet18(num_classes=2))
    torch.save(original.state_dict(), tmp_path / "resnet18.pth")
    loaded = load_backbone(tmp_path / "resnet18.pth")
    equal(loaded, headless(original)(images).detach(), images)
    assert sorted(loaded.report.ignored) == ["fc.bias", "fc.weight"]


def test_solo_learns_small_stem_pads_by_two(tmp_path, images):
    from torchvision.models import resnet18

    original = resnet18(num_classes=3)
    original.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=2, bias=False)
    original.maxpool = nn.Identity()
    original = headless(stirred(original))
    torch.save(foreign.solo_learn(original.state_dict()), tmp_path / "x.ckpt")
    loaded = load_backbone(tmp_path / "x.ckpt")
    equal(loaded, original(images).detach(), images)
    small = backbone("resnet18", stem="small").eval()
    small.load_state_dict(loaded.backbone.state_dict())
    assert not torch.allclose(small(images), original(images), rtol=0.01)


def test_vissls_and_swavs_wide_resnets(tmp_path, images):
    """VISSL widens every layer; SwAV the inner ones once more."""
    from torchvision.models.resnet import Bottleneck, ResNet

    for group_width in (64, 128):
        original = ResNet(Bottleneck, [1, 1, 1, 1], width_per_group=group_width, num_classes=1)
        original.inplanes = 16
        original.conv1, original.bn1 = nn.Conv2d(3, 16, 7, 2, 3, bias=False), nn.BatchNorm2d(16)
        for i, (blocks, stride) in enumerate(zip([3, 4, 6, 3], [1, 2, 2, 2], strict=True)):
            stage = original._make_layer(Bottleneck, 16 * 2**i, blocks, stride)
            setattr(original, f"layer{i + 1}", stage)
        original = headless(stirred(original))
        torch.save(foreign.vissl(original.state_dict()), tmp_path / "x.torch")
        equal(load_backbone(tmp_path / "x.torch"), original(images).detach(), images)


def test_torchvisions_transformer(tmp_path, images):
    from torchvision.models import VisionTransformer

    original = VisionTransformer(32, 8, 2, 3, 192, 768, num_classes=5)
    original = stirred(original)
    torch.save(original.state_dict(), tmp_path / "x.pth")
    original.heads = nn.Identity()
    loaded = load_backbone(tmp_path / "x.pth")
    assert loaded.report.layout == "transformer of torchvision"
    equal(loaded, original(images).detach(), images)


@pytest.mark.parametrize("name", ["regnet_y_400mf", "regnet_x_400mf"])
@pytest.mark.parametrize("part", ["", "block{}-part0."])
def test_vissls_regnets(tmp_path, images, name, part):
    """Against torchvision's class, and against timm's with timm's own importer of VISSL's names."""
    import timm
    from timm.models.regnet import _filter_fn
    from torchvision.models import get_model

    original = stirred(get_model(name, num_classes=2))
    trunk = foreign.vissl_regnet(headless(original).state_dict(), part)
    torch.save(foreign.vissl(trunk), tmp_path / "x.torch")
    loaded = load_backbone(tmp_path / "x.torch")
    assert loaded.report.layout == "VISSL, RegNet of ClassyVision"
    equal(loaded, headless(original)(images).detach(), images)
    if name == "regnet_y_400mf" and not part:
        peer = timm.create_model("regnety_004", num_classes=0).eval()
        theirs = _filter_fn(foreign.vissl(trunk))
        peer.load_state_dict({name: theirs[name] for name in peer.state_dict()})
        equal(loaded, peer(images).detach(), images)


# --- timm and projects that train its transformers --------------------------------------------


def timm_vit(**options):
    from timm.models.vision_transformer import VisionTransformer

    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 192, "depth": 4, "num_heads": 3}
    return stirred(VisionTransformer(num_classes=0, **sizes, **options))


@pytest.mark.parametrize(
    "file", [f for f in foreign.TRANSFORMERS if f not in (foreign.moco_v3, foreign.dinov2)]
)
def test_transformers_of_every_project(tmp_path, images, file):
    original = timm_vit()
    torch.save(file(original.state_dict()), tmp_path / "x.pth")
    equal(load_backbone(tmp_path / "x.pth"), original(images).detach(), images)


def test_ijepas_transformer_without_class_token(tmp_path, images):
    original = timm_vit(class_token=False, global_pool="avg", fc_norm=False)
    torch.save(foreign.ijepa(original.state_dict()), tmp_path / "x.pth.tar")
    equal(load_backbone(tmp_path / "x.pth.tar"), original(images).detach(), images)


@pytest.mark.parametrize("registers", [0, 4])
@pytest.mark.parametrize("chunk", [0, 2])
def test_dinov2_against_timms_own_importer(tmp_path, images, registers, chunk):
    """The class token has a position in DINOv2's files, with registers too."""
    from timm.models.vision_transformer import checkpoint_filter_fn

    theirs = dict(timm_vit(init_values=1.0).state_dict())
    if registers:
        theirs["reg_token"] = torch.randn(1, registers, 192)
    torch.save(foreign.dinov2_names(theirs, chunk), tmp_path / "x.pth")
    loaded = load_backbone(tmp_path / "x.pth")
    peer = timm_vit(init_values=1.0, reg_tokens=registers, no_embed_class=bool(registers))
    peer.load_state_dict(checkpoint_filter_fn(foreign.dinov2_names(theirs), peer))
    equal(loaded, peer(images).detach(), images)
    assert any("added to cls_token" in said for said in loaded.report.changed) == bool(registers)


def test_dinov2s_gated_mlps_against_timm(tmp_path, images):
    from timm.layers import SwiGLUPacked

    mlp = {"mlp_layer": SwiGLUPacked, "mlp_ratio": 16 / 3, "act_layer": nn.SiLU}
    original = timm_vit(**mlp)
    theirs = {
        name.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): tensor
        for name, tensor in original.state_dict().items()
    }
    torch.save(theirs, tmp_path / "x.pth")
    equal(load_backbone(tmp_path / "x.pth"), original(images).detach(), images)


# --- lightly ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet-9", "resnet-50"])
def test_lightlys_own_resnets(tmp_path, images, name):
    """Its examples cut the last layer off and pool: places 2 to 5 hold the stages."""
    from lightly.models import ResNetGenerator

    resnet = ResNetGenerator(name, width=0.25)
    pooled = nn.Sequential(*list(resnet.children())[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten())
    stirred(pooled)
    with torch.no_grad():
        children = dict(resnet.named_children())
        x = torch.relu(children["bn1"](children["conv1"](images)))
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            x = children[stage](x)
        expected = x.mean((2, 3))
    state = {"state_dict": foreign.under("backbone.", pooled.state_dict())}
    torch.save(state, tmp_path / "x.ckpt")
    torch.save(resnet.state_dict(), tmp_path / "whole.pth")
    if name == "resnet-9":
        target = backbone("resnet10", width=16, stem="small")
        for file in ("x.ckpt", "whole.pth"):
            equal(load_backbone(tmp_path / file, backbone=target), expected, images)
    for file in ("x.ckpt", "whole.pth"):
        equal(load_backbone(tmp_path / file), expected, images)


def test_lightlys_masked_transformer(tmp_path, images):
    from lightly.models.modules import MaskedVisionTransformerTIMM

    masked = MaskedVisionTransformerTIMM(timm_vit())
    stirred(masked, seed=2)
    state = {**foreign.under("backbone.", masked.state_dict()), **foreign.linear("decoder.")}
    torch.save({"state_dict": state}, tmp_path / "x.ckpt")
    equal(load_backbone(tmp_path / "x.ckpt"), masked.vit(images).detach(), images)
