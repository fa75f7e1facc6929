from __future__ import annotations

import pytest
import torch

from sslight.losses.msn import me_max, msn_loss, msn_targets, prototype_logits


def test_low_precision_is_widened():
    z, q = torch.randn(4, 8).bfloat16(), torch.randn(3, 8).bfloat16()
    logits = prototype_logits(z, q)
    assert logits.dtype == torch.float32
    for value in (msn_targets(logits.bfloat16()), msn_loss(logits, logits), me_max(logits)):
        assert value.dtype == torch.float32


def test_targets_have_no_gradient_and_sum_to_1():
    logits = torch.randn(5, 3, requires_grad=True)
    for iterations in (0, 3):
        targets = msn_targets(logits, 0.25, iterations)
        assert not targets.requires_grad
        torch.testing.assert_close(targets.sum(1), torch.ones(5))


def test_refusals_say_what_came():
    x = torch.ones(4, 3)
    with pytest.raises(ValueError, match=r"got \(4, 3\) and \(2, 5\)"):
        prototype_logits(x, torch.ones(2, 5))
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        prototype_logits(x, x, 0)
    with pytest.raises(ValueError, match=r"temperature of targets must be above 0, got -1"):
        msn_targets(x, -1)
    with pytest.raises(ValueError, match=r"got \(4, 3\) and \(3, 3\)"):
        msn_loss(x, torch.ones(3, 3))
