from __future__ import annotations

import pytest
import torch

from sslight.modules.dino_head import DINOHead, UnitLinear


def test_output_is_a_cosine_while_prototypes_keep_their_length():
    head = DINOHead(6, 12, 5, 40)
    logits = head(10 * torch.randn(3, 7, 6))
    assert logits.shape == (3, 7, 40)
    assert logits.abs().max() <= 1
    with torch.no_grad():
        head.last_layer.weight.mul_(3)
    assert head(torch.randn(4, 6)).abs().max() <= 1


def test_prototypes_may_learn_their_length():
    fixed, learnt = UnitLinear(5, 4), UnitLinear(5, 4, learn=True)
    learnt.load_state_dict(fixed.state_dict(), strict=False)
    rows = torch.randn(3, 5)
    assert torch.equal(fixed(rows), learnt(rows))
    with torch.no_grad():
        learnt.length.mul_(2)
    torch.testing.assert_close(learnt(rows), 2 * fixed(rows))
    assert [name for name, _ in fixed.named_parameters()] == ["weight"]


@pytest.mark.parametrize("bn", [False, True])
def test_layers(bn):
    head = DINOHead(6, 12, 5, 9, bn=bn)
    names = [name for name, _ in head.named_children()]
    norms = ["norm0"] if bn else []
    assert names[: 3 + bn] == ["linear0", *norms, "gelu0", "linear1"]
    assert names[-2:] == ["bottleneck", "last_layer"]
    assert (head.linear0.bias is None) == bn
    assert head.bottleneck.weight.std().item() == pytest.approx(0.02, rel=0.3)
    head(torch.randn(4, 6)).square().sum().backward()
    assert all(p.grad is not None for p in head.parameters())


def test_a_row_of_zeros_gives_zeros_and_no_nan():
    logits = UnitLinear(5, 4)(torch.zeros(2, 5))
    assert torch.equal(logits, torch.zeros(2, 4))
