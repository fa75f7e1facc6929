from __future__ import annotations

import torch

from sslight.modules.cosine_logits import CosineLogits


def test_cosines_over_a_temperature_whatever_the_lengths():
    torch.manual_seed(0)
    layer, x = CosineLogits(8, 5).double(), torch.randn(3, 8, dtype=torch.float64)
    expected = torch.stack(
        [torch.stack([x_i @ w / (x_i.norm() * w.norm()) for w in layer.weight]) for x_i in x]
    )
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer(3 * x, 0.1), expected / 0.1)


def test_rows_start_uniform_and_learn():
    layer = CosineLogits(16, 400)
    assert layer.weight.abs().max() <= 0.25
    assert abs(layer.weight.std() - 0.25 / 3**0.5) < 0.01
    layer(torch.randn(2, 16)).square().sum().backward()
    assert layer.weight.grad.abs().sum() > 0
