from __future__ import annotations

import pytest
import torch
from torch import nn

from sslight.modules.mae_decoder import MAEDecoder
from sslight.modules.masking import random_masking


def test_it_predicts_every_patch_and_does_not_care_in_which_order_tokens_come():
    torch.manual_seed(0)
    decoder = MAEDecoder(12, 16, 2, 4, 27)
    keep, _ = random_masking(torch.rand(2, 6), 0.5)
    tokens = torch.randn(2, 2 + 3, 12)  # two prefix tokens
    pixels = decoder(tokens, keep, (2, 3))
    assert pixels.shape == (2, 6, 27)
    turned = torch.cat([tokens[:, :2], tokens[:, 2:].flip(1)], dim=1)
    torch.testing.assert_close(decoder(turned, keep.flip(1), (2, 3)), pixels)
    assert not torch.allclose(decoder(turned, keep, (2, 3)), pixels)


def test_without_prefix_tokens():
    decoder = MAEDecoder(12, 16, 1, 4, 27)
    keep = torch.tensor([[0, 3]])
    assert decoder(torch.randn(1, 2, 12), keep, (2, 2)).shape == (1, 4, 27)


def test_it_starts_as_the_authors_does():
    torch.manual_seed(0)
    decoder = MAEDecoder(96, 128, 1, 4, 27)
    assert float(decoder.mask_token.detach().std()) == pytest.approx(0.02, rel=0.2)
    for name, layer in decoder.named_modules():
        if isinstance(layer, nn.Linear):
            bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
            assert not layer.bias.any(), name
            assert float(layer.weight.detach().abs().max()) == pytest.approx(bound, rel=0.01), name


def test_every_parameter_gets_a_gradient():
    decoder = MAEDecoder(12, 16, 1, 4, 27)
    pixels = decoder(torch.randn(2, 3, 12), torch.tensor([[0, 3], [1, 2]]), (2, 2))
    pixels.square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in decoder.parameters())
