from __future__ import annotations

import pytest
import torch

from sslight.losses.dcl import dcl


def test_refuses_views_of_different_shapes():
    with pytest.raises(ValueError, match=r"two or more views of one shape.*\(2, 3\), \(2, 4\)"):
        dcl([torch.ones(2, 3), torch.ones(2, 4)])


def test_refuses_a_single_image():
    with pytest.raises(ValueError, match="one image has no negatives"):
        dcl([torch.ones(1, 3), torch.ones(1, 3)])


@pytest.mark.parametrize("options", [{"temperature": 0}, {"sigma": 0}])
def test_refuses_temperatures_of_zero(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} must be above 0"):
        dcl([torch.ones(2, 3)] * 2, **options)


def test_gather_without_ranks_changes_nothing():
    views = torch.randn(2, 4, 3)
    assert torch.equal(dcl(views.unbind(), sigma=1.0, gather=True), dcl(views.unbind(), sigma=1.0))
