from __future__ import annotations

import pytest
import torch

from sslight.losses.in_batch import in_batch_info_nce


def test_refuses_shapes_that_do_not_agree():
    with pytest.raises(ValueError, match=r"one shape \[B, P\], got \(2, 3\) and \(2, 4\)"):
        in_batch_info_nce(torch.ones(2, 3), torch.ones(2, 4), 0.1)


def test_refuses_a_temperature_of_zero():
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        in_batch_info_nce(torch.ones(2, 3), torch.ones(2, 3), 0)


def test_refuses_a_single_image():
    with pytest.raises(ValueError, match="one image has no negatives"):
        in_batch_info_nce(torch.ones(1, 3), torch.ones(1, 3), 0.1)


def test_gather_without_ranks_changes_nothing():
    q, k = torch.randn(2, 4, 3).unbind()
    assert torch.equal(in_batch_info_nce(q, k, 0.1, gather=True), in_batch_info_nce(q, k, 0.1))
