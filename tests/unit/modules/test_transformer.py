from __future__ import annotations

import pytest
import torch
from torch import nn

from sslight.modules.transformer import (
    Attention,
    Block,
    DropPath,
    LayerScale,
    Mlp,
    SwiGLU,
    init_linear,
    init_xavier,
)


def test_attention_is_softmax_of_scaled_products():
    torch.manual_seed(0)
    layer, x = Attention(8, 2), torch.randn(2, 5, 8)
    q, k, v = layer.qkv(x).chunk(3, dim=-1)
    heads = []
    for h in (slice(0, 4), slice(4, 8)):
        weights = (q[..., h] @ k[..., h].mT / 4**0.5).softmax(-1)
        heads.append(weights @ v[..., h])
    torch.testing.assert_close(layer(x), layer.proj(torch.cat(heads, -1)))


def test_a_block_is_two_residual_branches():
    torch.manual_seed(0)
    block, x = Block(8, 2, layer_scale=0.5), torch.randn(2, 5, 8)
    y = x + 0.5 * block.attn(block.norm1(x))
    torch.testing.assert_close(block(x), y + 0.5 * block.mlp(block.norm2(y)))


def test_swiglu_is_gated_and_as_large_as_the_mlp():
    layer, x = SwiGLU(12, 48), torch.randn(3, 12)
    assert layer.fc2.in_features == 32  # two thirds of 48
    a, b = layer.fc1(x).chunk(2, -1)
    torch.testing.assert_close(layer(x), layer.fc2(a * a.sigmoid() * b))
    assert SwiGLU(1536, 4 * 1536).fc2.in_features == 4096  # DINOv2's ViT-g


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    layer, x = DropPath(0.25), torch.ones(4000, 3, 2)
    out = layer(x)
    assert out.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert bool((out == out[:, :1, :1]).all())
    assert float(out.mean()) == pytest.approx(1, abs=0.03)
    assert layer.eval()(x) is x
    assert DropPath(0.0)(x) is x
    torch.manual_seed(1)
    first = layer.train()(x)
    torch.manual_seed(1)
    assert torch.equal(first, layer(x))


def test_dropout_acts_in_training_only():
    attentions = Attention(8, 2, 0.5), Attention(8, 2, attention_drop=0.5)
    for layer in (Mlp(8, 16, 0.5), *attentions, SwiGLU(8, 16, 0.5)):
        x = torch.randn(2, 4, 8)
        assert not torch.equal(layer(x), layer(x))
        layer.eval()
        assert torch.equal(layer(x), layer(x))


def test_attention_drop_drops_weights_of_the_attention():
    """One token attends to itself alone: each head's weight of 1 becomes 0 or 1 / (1 - rate)."""
    torch.manual_seed(0)
    layer, x = Attention(8, 2, attention_drop=0.25).double(), torch.randn(400, 1, 8).double()
    nn.init.eye_(layer.proj.weight)
    nn.init.zeros_(layer.proj.bias)
    factors = (layer(x) / layer.eval()(x)).detach().view(400, 2, 4).mul(3).round(decimals=6)
    assert factors.unique().tolist() == [0, 4]
    assert bool((factors == factors[..., :1]).all())  # of a head, not of a channel
    assert float((factors == 0).float().mean()) == pytest.approx(0.25, abs=0.05)


def test_layer_scale_and_init():
    assert torch.equal(LayerScale(3, 0.1)(torch.ones(2, 3)), torch.full((2, 3), 0.1))
    layer = nn.Linear(200, 200)
    layer.apply(init_linear)
    assert not layer.bias.any()
    assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.02)


def test_xavier_passes_on_as_much_at_any_width():
    for wide, narrow in ((96, 288), (400, 100)):
        layer = nn.Linear(wide, narrow)
        layer.apply(init_xavier)
        assert not layer.bias.any()
        bound = (6 / (wide + narrow)) ** 0.5  # Glorot and Bengio, 2010, eq. 16
        assert float(layer.weight.detach().abs().max()) == pytest.approx(bound, rel=0.01)
        assert float(layer.weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.02)


def test_errors():
    with pytest.raises(ValueError, match="10 is not a multiple of 3 heads"):
        Attention(10, 3)
    with pytest.raises(ValueError, match="probability"):
        DropPath(-0.1)
