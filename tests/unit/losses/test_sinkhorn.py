from __future__ import annotations

import pytest
import torch

from sslight.losses.sinkhorn import sinkhorn


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.ones(3),), r"must be \[B, K\], got \(3,\)"),
        ((torch.ones(3, 2), 0.0), "epsilon must be above 0, got 0.0"),
        ((torch.ones(3, 2), 0.05, 0), "iterations must be 1 or more, got 0"),
    ],
)
def test_wrong_arguments_are_said(arguments, message):
    with pytest.raises(ValueError, match=message):
        sinkhorn(*arguments)


def test_weights_of_another_length_are_said():
    with pytest.raises(ValueError, match=r"one per row of scores, \[3\], got \(2,\)"):
        sinkhorn(torch.ones(3, 2), weights=torch.ones(2))


def test_no_gradient_flows_and_scores_are_left_alone():
    scores = torch.randn(4, 3, requires_grad=True)
    before = scores.detach().clone()
    assert not sinkhorn(scores).requires_grad
    assert torch.equal(scores, before)


def test_equal_scores_are_shared_out_evenly():
    torch.testing.assert_close(sinkhorn(torch.zeros(4, 5)), torch.full((4, 5), 0.2))
