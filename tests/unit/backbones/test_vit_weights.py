"""torchvision's vision transformers under our names."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models.vision_transformer import VisionTransformer as Theirs
from torchvision.models.vision_transformer import interpolate_embeddings

from sslight.backbones.vit_model import VisionTransformer
from sslight.backbones.vit_weights import from_torchvision, with_grid


@pytest.fixture
def theirs() -> Theirs:
    torch.manual_seed(0)
    model = Theirs(32, 8, 3, 2, 24, 96, num_classes=5).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.1)
    return model


def test_features_are_torchvisions(theirs):
    ours = VisionTransformer(image_size=32, patch_size=8, width=24, depth=3, heads=2).eval()
    ours.load_state_dict(from_torchvision(theirs.state_dict()), strict=True)
    theirs.heads = nn.Identity()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-5, atol=1e-5)


def test_the_names_of_old_files(theirs):
    renamed = {
        k.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): v
        for k, v in theirs.state_dict().items()
    }
    assert from_torchvision(renamed).keys() == from_torchvision(theirs.state_dict()).keys()


def test_a_foreign_name_is_refused():
    with pytest.raises(ValueError, match=r"blocks\.0\.norm1\.weight"):
        from_torchvision({"blocks.0.norm1.weight": torch.zeros(1)})


def test_positions_follow_the_grid_and_the_class_token_stays(theirs):
    state = from_torchvision(theirs.state_dict())
    same = with_grid(state, 4)["pos_embed"]
    assert torch.equal(same, state["pos_embed"])
    larger = with_grid(state, 6)["pos_embed"]
    assert larger.shape == (1, 37, 24)
    assert torch.equal(larger[:, 0], state["pos_embed"][:, 0])
    # torchvision aligns corners, which DINO, timm and F.interpolate's default do not.
    torchvisions = interpolate_embeddings(48, 8, theirs.state_dict())["encoder.pos_embedding"]
    assert not torch.allclose(larger, torchvisions)
