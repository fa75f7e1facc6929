"""Vision transformers by name."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.vision_transformer import VisionTransformer as Theirs

from sslight.backbones import backbone
from sslight.backbones import vit as module
from sslight.modules.transformer import Mlp, SwiGLU

SIZES = {  # millions of parameters, as the papers and timm count them (without classifier)
    "vit_t_16": 5.52,
    "vit_s_16": 21.67,
    "vit_b_16": 85.80,
    "vit_l_16": 303.30,
    "vit_h_14": 630.76,
    "vit_g_14": 1134.65,
}


def test_sizes():
    with torch.device("meta"):
        for name, millions in SIZES.items():
            count = sum(p.numel() for p in backbone(name).parameters()) / 1e6
            assert count == pytest.approx(millions, abs=0.01), name


def test_width_depth_and_heads_are_free():
    model = backbone(
        "vit_s_14", image_size=28, width=24, depth=2, heads=3, registers=2, layer_scale=1e-5
    ).eval()
    assert (model.embed_dim, model.n_prefix, model.patch_size) == (24, 3, 14)
    assert model(torch.zeros(2, 3, 28, 28)).shape == (2, 24)
    assert "blocks.1.ls2.gamma" in model.state_dict()


def test_vit_g_is_gated():
    with torch.device("meta"):
        model = backbone("vit_g_14", depth=1)
    assert isinstance(model.blocks[0].mlp, SwiGLU)
    assert model.blocks[0].mlp.fc2.in_features == 4096


def test_mlps_are_the_architectures_or_as_asked():
    sizes = {"image_size": 28, "width": 24, "depth": 2, "heads": 3}
    for name, mlp, kind in (
        ("vit_s_14", None, Mlp),
        ("vit_s_14", "swiglu", SwiGLU),
        ("vit_g_14", "gelu", Mlp),
    ):
        model = backbone(name, mlp=mlp, **sizes)
        assert all(type(block.mlp) is kind for block in model.blocks), (name, mlp)
        assert model(torch.zeros(2, 3, 28, 28)).shape == (2, 24)


def test_torchvisions_weights_fit_or_say_why_not(monkeypatch):
    with torch.device("meta"):
        state = Theirs(224, 16, 12, 12, 768, 3072).state_dict()
    state = {k: torch.ones(v.shape) for k, v in state.items()}
    monkeypatch.setattr(module, "torchvision_weights", lambda arch, weights: state)
    model = backbone("vit_b_16", image_size=32, weights="IMAGENET1K_V1", mask_token=True)
    assert model.pos_embed.shape == (1, 5, 768)
    assert bool((model.blocks[11].mlp.fc2.weight == 1).all())
    with pytest.raises(ValueError, match=r"do not fit .*first: patch_embed.proj.weight"):
        backbone("vit_b_16", weights="IMAGENET1K_V1", in_channels=4)
    with pytest.raises(ValueError, match=r"do not fit .*neither registers nor layer scale"):
        backbone("vit_b_16", weights="IMAGENET1K_V1", registers=4)
    with pytest.raises(ValueError, match=r"do not fit .*depth and MLPs"):
        backbone("vit_b_16", weights="IMAGENET1K_V1", mlp="swiglu")


def test_errors():
    with pytest.raises(ValueError, match="patch size 16; the nearest are 32 and 48"):
        backbone("vit_t_16", image_size=40)
    with pytest.raises(ValueError, match="torchvision has: none"):
        backbone("vit_s_16", weights="IMAGENET1K_V1")
    with pytest.raises(TypeError, match="no argument 'extra'"):
        backbone("vit_s_16", extra={})


@pytest.mark.parametrize("kind", ["dropout", "attention_drop", "drop_path"])
def test_checkpointed_blocks_change_no_value_and_no_gradient(kind):
    models = []
    for count in (0, 2):
        torch.manual_seed(0)
        options = {"image_size": 16, "patch_size": 4, "width": 32, "heads": 2, "depth": 3}
        models.append(backbone("vit_t_16", checkpoint_blocks=count, **{kind: 0.3}, **options))
    images = torch.randn(4, 3, 16, 16)
    for model in models:
        torch.manual_seed(3)
        model.tokens(images, keep=torch.tensor([[0, 3, 7]] * 4)).square().sum().backward()
    for (name, a), b in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, msg=name)
