from __future__ import annotations

import pytest
import torch

from sslight.losses.barlow_twins import barlow_twins_loss


@pytest.mark.parametrize(
    "views",
    [
        [torch.ones(2, 3)],
        [torch.ones(2, 3), torch.ones(2, 4)],
        [torch.ones(2), torch.ones(2)],
    ],
)
def test_refuses_shapes_that_do_not_agree(views):
    with pytest.raises(ValueError, match=r"two or more views of one shape \[B, P\]"):
        barlow_twins_loss(views)


def test_refuses_a_single_image():
    with pytest.raises(ValueError, match="one image has no variance"):
        barlow_twins_loss([torch.ones(1, 3)] * 2)
