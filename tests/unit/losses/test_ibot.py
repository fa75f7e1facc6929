from __future__ import annotations

import pytest
import torch

from sslight.losses.ibot import masked_patch_loss


def test_refuses_shapes_that_do_not_agree():
    with pytest.raises(ValueError, match=r"got \(2, 3\), \(2, 4\) and \(2,\)"):
        masked_patch_loss(torch.ones(2, 3), torch.ones(2, 4), torch.ones(2), 2)
    with pytest.raises(ValueError, match=r"in_image \[N\], got \(2, 3\), \(2, 3\) and \(3,\)"):
        masked_patch_loss(torch.ones(2, 3), torch.ones(2, 3), torch.ones(3), 2)


def test_refuses_a_temperature_that_is_none():
    with pytest.raises(ValueError, match="above 0"):
        masked_patch_loss(torch.ones(2, 3), torch.ones(2, 3), torch.ones(2), 2, 0.0)


def test_targets_get_no_gradient():
    rows = torch.randn(2, 3, requires_grad=True)
    loss = masked_patch_loss(
        torch.randn(2, 3, requires_grad=True), rows.softmax(1), torch.ones(2), 2
    )
    assert torch.autograd.grad(loss, rows, allow_unused=True) == (None,)
