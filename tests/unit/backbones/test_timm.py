"""timm's models behind ``timm/<model>``."""

from __future__ import annotations

import copy
import pickle
import sys

import pytest
import torch

from sslight.backbones import backbone, builder
from sslight.backbones.layers import LayerReader
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
