from __future__ import annotations

import pytest
import torch
from torch import nn

from sslight.modules.heads import conv_head, mlp


def test_two_layers_with_batch_norm():
    head = mlp(5, 7, 3)
    assert [type(part) for part in head] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert head[0].bias is None
    assert head[3].bias is not None
    assert head(torch.randn(4, 5)).shape == (4, 3)


def test_without_batch_norm_layers_have_a_bias():
    head = mlp(5, 7, 3, layers=3, bn=False)
    linear = [part for part in head if isinstance(part, nn.Linear)]
    assert [(part.in_features, part.out_features) for part in linear] == [(5, 7), (7, 7), (7, 3)]
    assert all(part.bias is not None for part in linear)
    assert not any(isinstance(part, nn.BatchNorm1d) for part in head)


def test_last_batch_norm_takes_the_bias_away():
    head = mlp(5, 7, 3, last_bn=True, last_affine=False)
    assert head[3].bias is None
    assert head[4].weight is None


def test_last_bias_and_one_layer():
    head = mlp(5, 7, 3, layers=1, last_bias=False)
    assert len(head) == 1
    assert head[0].bias is None
    assert head[0].weight.shape == (3, 5)


def test_refuses_no_layers():
    with pytest.raises(ValueError, match="layers is 0"):
        mlp(5, 7, 3, layers=0)


def test_conv_head():
    head = conv_head(5, 7, 3, depth=2)
    assert head(torch.rand(2, 5, 4, 6)).shape == (2, 3, 4, 6)
    convolutions = [part for part in head if isinstance(part, nn.Conv2d)]
    assert [part.bias is None for part in convolutions] == [True, True, False]
    assert len(conv_head(5, 7, 3, depth=0)) == 1
    with pytest.raises(ValueError, match="depth is -1"):
        conv_head(5, 7, 3, depth=-1)
