"""Features of inner layers: names, poolings, several at once."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sslight.backbones import backbone
from sslight.backbones.layers import LayerReader, layer_names, resolve_layers
from sslight.backbones.pooling import pool, pool_map


@pytest.fixture
def resnet():
    torch.manual_seed(0)
    return backbone("resnet10", width=8, stem="small").eval()


def test_vissl_names_equal_the_forward_done_by_hand(resnet):
    images = torch.randn(2, 3, 32, 32)
    names = ["conv1", "res1", "res2", "res3", "res4", "res5"]
    read = LayerReader(resnet, {**dict.fromkeys(names, "none"), "res5avg": "none", "embedding": ""})
    features = read(images)
    x = resnet.relu(resnet.bn1(resnet.conv1(images)))
    torch.testing.assert_close(features["conv1"], x, rtol=0, atol=0)
    for name, stage in [
        ("res2", "layer1"),
        ("res3", "layer2"),
        ("res4", "layer3"),
        ("res5", "layer4"),
    ]:
        x = getattr(resnet, stage)(x)
        torch.testing.assert_close(features[name], x, rtol=0, atol=0)
    torch.testing.assert_close(features["res5avg"], x.mean(dim=(2, 3)))
    torch.testing.assert_close(features["embedding"], features["res5avg"])


def test_a_layer_that_is_overwritten_in_place_is_read_before(resnet):
    images = torch.randn(2, 3, 32, 32)
    got = LayerReader(resnet, {"bn1": "none"})(images)["bn1"]
    torch.testing.assert_close(got, resnet.bn1(resnet.conv1(images)))
    assert float(got.detach().min()) < 0  # the ReLU behind it works in place


def test_list_form_pools_and_may_repeat_a_layer(resnet):
    features = LayerReader(resnet, ["res5", "res4:max", "res4:avg2", "layer4.0.conv1:flatten"])(
        torch.randn(2, 3, 32, 32)
    )
    shapes = {name: tuple(x.shape) for name, x in features.items()}
    assert shapes == {
        "res5": (2, 64), "res4-max": (2, 32), "res4-avg2": (2, 128), "layer4.0.conv1": (2, 64 * 16)
    }  # fmt: skip


def test_hooks_are_gone_after_a_call_and_after_an_error(resnet):
    reader = LayerReader(resnet, ["res5"])
    reader(torch.randn(1, 3, 32, 32))
    with pytest.raises(RuntimeError):
        reader(torch.randn(1, 4, 32, 32))
    assert not any(m._forward_hooks for m in resnet.modules())


def test_gradients_flow_through_features():
    model = backbone("resnet10", width=8)
    LayerReader(model, {"res3": "avg"})(torch.randn(2, 3, 32, 32))["res3"].sum().backward()
    assert model.conv1.weight.grad is not None
    assert model.layer4[0].conv1.weight.grad is None


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        (["res6"], "Did you mean"),
        (["layer4.0.conv3"], "layer4.0.conv"),
        ({"res5": "average"}, "unknown pooling 'average'. Did you mean 'avg'"),
        ({"res5": "avg_k6_p4"}, "pads by more than half"),
        ({"res5": "avg_k6s1"}, "Did you mean 'avg_k6_s1'"),
        ([], "empty"),
    ],
)
def test_errors(resnet, layers, text):
    with pytest.raises(ValueError, match=text):
        resolve_layers(resnet, layers)


def test_layers_that_give_no_tensor_or_never_run():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.pair, self.unused = Pair(), nn.Linear(2, 2)

        def forward(self, x):
            return self.pair(x)[0].flatten(1)

    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(TypeError, match="returns tuple"):
        LayerReader(Odd(), ["pair"])(torch.zeros(1, 2, 2, 2))
    with pytest.raises(ValueError, match="did not run"):
        LayerReader(Odd(), ["unused"])(torch.zeros(1, 2, 2, 2))


def test_poolings_against_loops():
    x = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(pool(x, "avg"), x.mean((2, 3)))
    torch.testing.assert_close(pool(x, "max"), x.amax((2, 3)))
    torch.testing.assert_close(pool(x, "gem"), (x**3).mean((2, 3)) ** (1 / 3))
    corners = torch.stack(
        [x[:, :, i : i + 2, j : j + 2].mean((2, 3)) for i in (0, 2) for j in (0, 2)], dim=2
    )
    torch.testing.assert_close(pool(x, "avg2"), corners.flatten(1))
    tokens = torch.rand(2, 5, 3)
    torch.testing.assert_close(pool(tokens, "avg", n_prefix=1), tokens[:, 1:].mean(1))
    torch.testing.assert_close(pool(tokens, "cls"), tokens[:, 0])
    assert pool(tokens, "none") is tokens
    torch.testing.assert_close(pool(x, "gem4"), (x**4).mean((2, 3)) ** (1 / 4))
    torch.testing.assert_close(pool(x, "tokens"), x.flatten(2).transpose(1, 2))
    torch.testing.assert_close(pool(tokens, "tokens", n_prefix=1), tokens[:, 1:])
    square = tokens[:, 1:].transpose(1, 2).reshape(2, 3, 2, 2)
    torch.testing.assert_close(pool(tokens, "max2", n_prefix=1), square.flatten(1))
    with pytest.raises(ValueError, match="tokens"):
        pool(x, "cls")
    with pytest.raises(ValueError, match="5 patch tokens are no square"):
        pool(tokens, "avg2")


@pytest.mark.parametrize(
    ("pooling", "size", "stride", "padding"),
    [("k3", 3, 3, 0), ("k3_s2", 3, 2, 0), ("k3_s2_p1", 3, 2, 1), ("k2_p1", 2, 2, 1)],
)
def test_windows_are_torchs(pooling, size, stride, padding):
    x = torch.rand(2, 3, 7, 7)
    for kind, module in (("avg", nn.AvgPool2d), ("max", nn.MaxPool2d)):
        expected = module(size, stride, padding)(x)
        torch.testing.assert_close(pool(x, f"{kind}_{pooling}"), expected.flatten(1))
        torch.testing.assert_close(pool_map(x, f"{kind}_{pooling}"), expected)


def test_the_tokens_of_a_transformer_have_a_name():
    model = backbone("vit_t_16", image_size=32, depth=2).eval()
    images = torch.randn(2, 3, 32, 32)
    got = LayerReader(model, ["tokens:tokens", "tokens:cls", "blocks.1:gem"])(images)
    torch.testing.assert_close(got["tokens-tokens"], model.tokens(images)[:, 1:])
    torch.testing.assert_close(got["tokens-cls"], model(images))
    assert got["blocks.1"].shape == (2, 192)


def test_transformer_blocks_have_short_names():
    model = backbone("vit_t_16", image_size=32, depth=2).eval()
    assert {"block0", "block1"} <= set(layer_names(model))
    images = torch.randn(2, 3, 32, 32)
    got = LayerReader(model, {"block1": "cls", "embedding": "none"})(images)
    torch.testing.assert_close(model.norm(got["block1"]), got["embedding"])


def test_swin_maps_come_channels_first():
    with torch.device("meta"):
        model = backbone("swin_t")
        got = LayerReader(model, {"features.1": "none", "norm": "avg"})(torch.zeros(1, 3, 64, 64))
    assert got["features.1"].shape == (1, 96, 16, 16)
    assert got["norm"].shape == (1, 768)
