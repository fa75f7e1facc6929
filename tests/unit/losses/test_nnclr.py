from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sslight.losses.nnclr import nearest_neighbours, nnclr_loss


def test_the_nearest_by_cosine_is_found_whatever_the_lengths():
    bank = torch.eye(3)
    rows = torch.tensor([[0.0, 9.0, 8.0], [0.2, 0.1, 0.0]])
    assert torch.equal(nearest_neighbours(rows, bank), bank[[1, 0]])


def test_neighbours_carry_no_gradient():
    rows = torch.randn(4, 3, requires_grad=True)
    assert not nearest_neighbours(rows, torch.eye(3)).requires_grad


def test_the_search_is_in_float32_under_autocast():
    generator = torch.Generator().manual_seed(0)
    rows, bank = (torch.randn(n, 16, generator=generator) for n in (64, 512))
    bank = F.normalize(bank, dim=1)
    expected = nearest_neighbours(rows, bank)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(nearest_neighbours(rows, bank), expected)


def test_refuses_widths_that_do_not_agree():
    with pytest.raises(ValueError, match=r"got \(2, 3\) and \(5, 4\)"):
        nearest_neighbours(torch.ones(2, 3), torch.ones(5, 4))


def test_refuses_a_single_image():
    one = torch.ones(1, 3)
    with pytest.raises(ValueError, match="one image has no negatives"):
        nnclr_loss((one, one), (one, one))
