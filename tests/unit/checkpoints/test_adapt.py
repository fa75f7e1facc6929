"""Weights made to fit other channels and another image size."""

from __future__ import annotations

import foreign
import pytest
import torch
import torch.nn.functional as F

from sslight.backbones import backbone
from sslight.checkpoints import init_backbone
from sslight.checkpoints.adapt import with_channels

TINY = {"patch_size": 4, "width": 16, "heads": 2, "depth": 1}


def test_one_channel_gives_what_three_equal_ones_gave():
    torch.manual_seed(0)
    weight, grey = torch.randn(5, 3, 3, 3), torch.randn(2, 1, 8, 8)
    expected = F.conv2d(grey.expand(-1, 3, -1, -1), weight)
    torch.testing.assert_close(F.conv2d(grey, with_channels(weight, 1)), expected)


@pytest.mark.parametrize(("theirs", "ours"), [(3, 2), (3, 5), (3, 6), (1, 3), (4, 3)])
def test_channels_are_repeated_in_turn_at_the_same_scale(theirs, ours):
    torch.manual_seed(0)
    weight = torch.randn(5, theirs, 3, 3)
    new = with_channels(weight, ours)
    assert new.shape == (5, ours, 3, 3)
    for channel in range(ours):
        torch.testing.assert_close(new[:, channel], weight[:, channel % theirs] * theirs / ours)
    equal = weight[:, :1].expand(-1, theirs, -1, -1)
    torch.testing.assert_close(with_channels(equal, ours).sum(1), equal.sum(1))


@pytest.mark.parametrize("channels", [1, 5])
def test_a_backbone_of_other_channels_is_filled_and_it_is_said(tmp_path, channels):
    torch.save(backbone("resnet10", width=8).state_dict(), tmp_path / "x.pth")
    target = backbone("resnet10", width=8, in_channels=channels)
    report = init_backbone(target, tmp_path / "x.pth")
    assert report.complete
    (said,) = report.changed
    assert said.startswith("conv1.weight: the file's 3 input channels were")
    assert said.endswith(f"for the backbone's {channels}")
    assert said in str(report)


def test_only_the_first_convolution_may_differ_in_channels(tmp_path):
    state = backbone("resnet10", width=8).state_dict()
    state["layer1.0.conv1.weight"] = state["layer1.0.conv1.weight"][:, :3]
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"other shape: layer1\.0\.conv1\.weight"):
        init_backbone(backbone("resnet10", width=8), tmp_path / "x.pth")


@pytest.mark.parametrize("kind", ["ours", "timm"])
def test_positions_are_interpolated_to_the_backbones_grid(tmp_path, kind):
    torch.manual_seed(0)
    small = backbone("vit_t_16", image_size=16, **TINY)
    torch.save(small.state_dict(), tmp_path / "x.pth")
    large = backbone("vit_t_16", image_size=24, **TINY)
    if kind == "timm":
        sizes = {"patch_size": 4, "embed_dim": 16, "num_heads": 2, "depth": 1}
        large = backbone("timm/vit_tiny_patch16_224", image_size=24, extra=sizes)
    report = init_backbone(large, tmp_path / "x.pth")
    assert report.changed == ["pos_embed: interpolated from 4 x 4 patches to 6 x 6"]
    images = torch.randn(2, 3, 24, 24)
    torch.testing.assert_close(large.eval()(images), small.eval()(images), rtol=1e-4, atol=1e-5)


def test_positions_of_another_width_are_no_question_of_size(tmp_path):
    torch.save(backbone("vit_t_16", image_size=16, **TINY).state_dict(), tmp_path / "x.pth")
    other = backbone("vit_t_16", image_size=24, **{**TINY, "width": 32})
    with pytest.raises(ValueError, match=r"other shape: pos_embed"):
        init_backbone(other, tmp_path / "x.pth")


def test_the_mask_token_of_dinov2_gets_the_dimension_it_lacks(tmp_path):
    plain = backbone("vit_t_16", image_size=8, **TINY)
    state = foreign.dinov2_names(plain.state_dict(), chunk=1)
    state["mask_token"] += 3
    torch.save(state, tmp_path / "x.pth")
    masked = backbone("vit_t_16", image_size=8, mask_token=True, **TINY)
    assert init_backbone(masked, tmp_path / "x.pth").complete
    assert float(masked.mask_token.detach().mean()) == 3
    assert "mask_token" in init_backbone(plain, tmp_path / "x.pth").ignored
