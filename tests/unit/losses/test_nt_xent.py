from __future__ import annotations

import pytest
import torch

from sslight.losses.nt_xent import nt_xent, nt_xent_multiview


def test_refuses_views_of_different_shapes():
    with pytest.raises(ValueError, match=r"two or more views of one shape.*\(2, 3\), \(2, 4\)"):
        nt_xent(torch.ones(2, 3), torch.ones(2, 4))


def test_refuses_a_single_view():
    with pytest.raises(ValueError, match="two or more views"):
        nt_xent_multiview([torch.ones(2, 3)])


def test_refuses_a_single_image():
    with pytest.raises(ValueError, match="one image has no negatives"):
        nt_xent(torch.ones(1, 3), torch.ones(1, 3))


def test_refuses_a_temperature_of_zero():
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        nt_xent(torch.ones(2, 3), torch.ones(2, 3), 0)


def test_gather_without_ranks_changes_nothing():
    a, b = torch.randn(2, 4, 3).unbind()
    assert torch.equal(nt_xent(a, b, gather=True), nt_xent(a, b))


def test_inputs_are_left_alone():
    a, b = torch.randn(2, 4, 3).unbind()
    before = a.clone(), b.clone()
    nt_xent(a, b)
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])
