from __future__ import annotations

import pytest
import torch

from sslight.losses.vicreg import vicreg_loss


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
        vicreg_loss(views)


def test_refuses_a_single_image():
    with pytest.raises(ValueError, match="one image has no variance"):
        vicreg_loss([torch.ones(1, 3)] * 2)
