from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import sslight
from sslight.backbones.inputs import INPUTS, image_channels, input_of, lightness, see, standardised
from sslight.checkpoints.save import save_backbone


def net(channels: int) -> nn.Module:
    torch.manual_seed(0)
    return sslight.backbone("resnet10", stem="small", width=8, in_channels=channels).eval()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_sees_lightness_only(channels):
    images = torch.rand(2, 3, 8, 8)
    plain = net(channels)
    expected = plain(lightness(images, channels))
    seeing = see(plain, "lightness")
    torch.testing.assert_close(seeing(images), expected)
    assert seeing is plain
    assert input_of(seeing) == "lightness"
    assert image_channels(seeing) == 3
    assert list(seeing.state_dict()) == list(net(channels).state_dict())


def test_colours_of_one_lightness_look_alike():
    """A grey image of the same L gives the same planes; another hue alone changes nothing."""
    images = torch.rand(1, 3, 4, 4, dtype=torch.float64)
    planes = lightness(images, 1)
    y = ((100 * planes + 66) / 116) ** 3  # L to luminance, above the linear part
    grey = (1.055 * y ** (1 / 2.4) - 0.055).expand(-1, 3, -1, -1)
    torch.testing.assert_close(lightness(grey, 1), planes, rtol=1e-5, atol=1e-6)


def test_standardised_channels_of_each_image():
    """Mean 0 and deviation 1 of each channel by itself; of a flat one zeros, in any precision."""
    images = 3 * torch.randn(2, 3, 5, 4, dtype=torch.float64).exp() + 7
    seen = standardised(images, 3)
    for image, wanted in zip(images, seen, strict=True):
        for channel, values in zip(image, wanted, strict=True):
            expected = (channel - channel.mean()) / channel.std(correction=0)
            torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-5)
    for precision in (torch.float32, torch.bfloat16, torch.float16):
        assert (standardised(torch.full((1, 1, 4, 4), 0.3, dtype=precision), 1) == 0).all()


@pytest.mark.parametrize("what", INPUTS)
def test_every_input_is_kept_beside_the_weights(what, tmp_path):
    seeing, images = see(net(3), what), torch.rand(2, 3, 8, 8)
    save_backbone(seeing, tmp_path / "backbone.safetensors")
    loaded = sslight.load_backbone(tmp_path / "backbone.safetensors").backbone
    assert input_of(loaded) == what
    assert torch.equal(loaded.eval()(images), seeing(images))


def test_once_is_enough_and_copies_see_the_same():
    images = torch.rand(2, 3, 8, 8)
    seeing = see(see(net(3), "lightness"), "lightness")
    assert torch.equal(copy.deepcopy(seeing)(images), seeing(images))
    assert len(seeing._forward_pre_hooks) == 1


def test_nothing_and_something_unknown():
    assert input_of(see(net(3), None)) is None
    with pytest.raises(ValueError, match="'infrared': known are lightness, standardised"):
        see(net(3), "infrared")


def test_the_networks_type_is_kept():
    assert lightness(torch.rand(1, 3, 2, 2).bfloat16(), 3).dtype == torch.bfloat16
