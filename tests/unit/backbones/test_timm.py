"""timm's models behind ``timm/<model>``."""

from __future__ import annotations

import copy
import pickle
import sys

import pytest
import torch

from sslight.backbones import backbone, builder
from sslight.backbones.layers import LayerReader
from sslight.backbones.pooling import pooled
from sslight.backbones.spec import spec_of

pytest.importorskip("timm")


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050", "convnext_atto"])
def test_width(name):
    model = backbone(f"timm/{name}").eval()
    assert model(torch.zeros(2, 3, 64, 64)).shape == (2, model.embed_dim)
    assert not hasattr(model, "tokens")


def test_vit_tokens_mask_and_copies():
    model = backbone("timm/vit_tiny_patch16_224", image_size=32, mask_token=True, in_channels=4)
    model = copy.deepcopy(model).eval()
    images = torch.randn(2, 4, 32, 32)
    assert model.embed_dim == 192
    tokens = model.tokens(images)
    assert tokens.shape == (2, 5, 192)
    torch.testing.assert_close(tokens[:, 0], model(images))
    mask = torch.tensor([[True, False, False, False]] * 2)
    changed = images.clone()
    changed[:, :, :16, :16] += 3
    torch.testing.assert_close(model.tokens(images, mask), model.tokens(changed, mask))
    with torch.no_grad():
        model.cls_token += 1  # the copy's method reads the copy's weights
    assert not torch.allclose(model.tokens(images), tokens)
    assert spec_of(pickle.loads(pickle.dumps(model))).name == "timm/vit_tiny_patch16_224"


def test_vit_keeps_patches_and_gives_its_blocks():
    """As sslight's own transformer with the same weights."""
    options = {"image_size": 32, "mask_token": True}
    theirs = backbone("timm/vit_tiny_patch16_224", **options, extra={"depth": 2}).eval()
    ours = backbone("vit_t_16", **options, depth=2).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images, keep = torch.randn(2, 3, 32, 32), torch.tensor([[3, 0], [1, 2]])
    mask = torch.tensor([[False, False, True, True]] * 2)
    assert theirs.grid(images) == ours.grid(images) == (2, 2)
    torch.testing.assert_close(
        theirs.tokens(images, mask, keep), ours.tokens(images, mask, keep), rtol=1e-5, atol=1e-5
    )
    pairs = zip(theirs.block_outputs(images, 2), ours.block_outputs(images, 2), strict=True)
    for their_output, our_output in pairs:
        torch.testing.assert_close(their_output, our_output, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(pooled(theirs, theirs.tokens(images)), theirs(images))
    for model in (theirs, ours):
        model.fix_positions()
    assert torch.equal(theirs.pos_embed, ours.pos_embed)
    assert not theirs.pos_embed.requires_grad
    assert not any(module._forward_hooks for module in theirs.modules())


def test_transformers_that_cannot_leave_patches_out_say_so():
    model = backbone("timm/eva02_tiny_patch14_224", image_size=28, extra={"depth": 1})
    with pytest.raises(ValueError, match="timm's Eva cannot run on some of its patches"):
        model.tokens(torch.zeros(1, 3, 28, 28), keep=torch.tensor([[0]]))


def test_swin_layers_are_channels_first():
    model = backbone("timm/swin_tiny_patch4_window7_224")
    features = LayerReader(model, {"layers.0": "avg", "layers.3": "none"})(
        torch.zeros(1, 3, 224, 224)
    )
    assert features["layers.0"].shape == (1, 96)
    assert features["layers.3"].shape == (1, 768, 7, 7)


def test_errors():
    with pytest.raises(ValueError, match=r"timm has no model 'resnet8'.*resnet18"):
        backbone("timm/resnet8")
    with pytest.raises(TypeError, match="nonsense"):
        backbone("timm/resnet18", extra={"nonsense": 1})
    with pytest.raises(ValueError, match="no patch tokens"):
        backbone("timm/resnet18", mask_token=True)


def test_a_missing_timm_names_the_extra(monkeypatch):
    build = builder("timm/resnet18")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r"sslight\[timm\]"):
        build()
