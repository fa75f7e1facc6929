from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import sslight
from sslight.backbones.maps import MapReader
from sslight.backbones.protocol import as_backbone
from sslight.modules.checkpointing import chunked


def resnet() -> nn.Module:
    torch.manual_seed(0)
    return sslight.backbone("resnet10", stem="small", width=8).eval()


def test_the_last_map_of_a_resnet_is_what_its_pooling_reads():
    net, images = resnet(), torch.rand(2, 3, 32, 32)
    reader = MapReader(net)
    assert (reader.path, reader.channels) == ("layer4", 64)
    embedding, maps = reader(images)
    torch.testing.assert_close(embedding, net(images))
    assert maps.shape == (2, 64, 4, 4)
    torch.testing.assert_close(maps.mean((2, 3)), embedding)


def test_another_layer_by_its_short_name():
    reader = MapReader(resnet(), "res4")
    assert (reader.path, reader.channels) == ("layer3", 32)
    assert reader(torch.rand(2, 3, 32, 32))[1].shape == (2, 32, 8, 8)


@pytest.mark.parametrize(
    ("name", "options", "path", "channels"),
    [
        ("convnext_tiny", {}, "features", 768),
        ("swin_t", {}, "permute", 768),
        ("vgg11", {}, "avgpool", 512),
        ("densenet121", {}, "features", 1024),
        ("mobilenet_v3_small", {}, "features", 576),
    ],
)
def test_other_families(name, options, path, channels):
    with torch.device("meta"):
        reader = MapReader(sslight.backbone(name, **options))
    assert (reader.path, reader.channels) == (path, channels)


def test_the_map_of_a_transformer_is_its_patch_tokens():
    net = sslight.backbone("vit_t_16", image_size=16, patch_size=4, depth=2).eval()
    reader, images = MapReader(net), torch.rand(2, 3, 16, 16)
    maps = reader(images)[1]
    assert maps.shape == (2, net.embed_dim, 4, 4)
    patches = net.tokens(images)[:, net.n_prefix :]
    torch.testing.assert_close(maps.flatten(2).transpose(1, 2), patches)


def test_channels_last_layers_are_turned():
    timm = pytest.importorskip("timm")
    assert timm
    net = sslight.backbone("timm/swin_tiny_patch4_window7_224")
    reader = MapReader(net)
    assert reader.path == "norm"
    assert reader(torch.rand(1, 3, 224, 224))[1].shape == (1, 768, 7, 7)


def test_a_network_that_ends_in_a_map():
    net = as_backbone(nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU()))
    embedding, maps = MapReader(net)(torch.rand(2, 3, 8, 8))
    torch.testing.assert_close(maps.mean((2, 3)), embedding)


def test_chunks_are_put_together_with_their_gradients():
    images = torch.rand(5, 3, 16, 16)
    grads = []
    for chunk in (5, 2):
        net = resnet()
        reader = MapReader(net)
        with chunked(net, chunk):
            embedding, maps = reader(images)
            (maps.square().mean() + embedding.sum()).backward()
        grads.append([p.grad for p in net.parameters()])
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-6)


def test_a_copy_reads_the_copy():
    holder = nn.Module()
    holder.net = resnet()
    holder.reader = MapReader(holder.net)
    twin = copy.deepcopy(holder)
    assert twin.reader.backbone is twin.net


def test_a_network_without_a_map_is_refused():
    flat = as_backbone(nn.Sequential(nn.Flatten(), nn.Linear(3 * 28 * 28, 4)))
    with pytest.raises(ValueError, match="no feature map: a layer that returns"):
        MapReader(flat)
    with pytest.raises(ValueError, match="no feature map at 'avgpool'"):
        MapReader(resnet(), "avgpool")
