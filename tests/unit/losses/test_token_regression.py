from __future__ import annotations

import pytest
import torch

from sslight.losses.token_regression import block_smooth_l1, masked_smooth_l1, normalised_tokens


def test_no_selected_token_is_a_loss_of_zero():
    x = torch.randn(2, 3, 4, requires_grad=True)
    loss = masked_smooth_l1(x, x + 1, torch.zeros(2, 3, dtype=torch.bool))
    assert loss.item() == 0
    assert not torch.autograd.grad(loss, x)[0].any()


def test_low_precision_is_widened():
    x = torch.randn(2, 3, 4).bfloat16()
    assert masked_smooth_l1(x, x + 1, torch.ones(2, 3)).dtype == torch.float32


def test_refuses_shapes_and_beta():
    x, mask = torch.ones(2, 3, 4), torch.ones(2, 3)
    with pytest.raises(ValueError, match=r"got \(2, 3, 4\), \(2, 3, 4\) and \(3, 2\)"):
        masked_smooth_l1(x, x, mask.T)
    with pytest.raises(ValueError, match="beta must be above 0, got 0"):
        masked_smooth_l1(x, x, mask, 0)


def test_blocks_refuse_shapes():
    x = torch.ones(2, 3, 4, 5)
    with pytest.raises(ValueError, match=r"block_smooth_l1: .* and \(2, 3\)\."):
        block_smooth_l1(x, x, torch.ones(2, 3))


def test_normalised_tokens_are_wide():
    tokens = normalised_tokens(3 + torch.randn(2, 3, 8).bfloat16())
    assert tokens.dtype == torch.float32
    torch.testing.assert_close(tokens.mean(-1), torch.zeros(2, 3), atol=1e-6, rtol=0)
