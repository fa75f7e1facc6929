from __future__ import annotations

import pytest
import torch

from sslight.losses.simsiam import simsiam_loss


def test_refuses_shapes_that_do_not_agree():
    a, b = torch.ones(2, 3), torch.ones(2, 4)
    with pytest.raises(ValueError, match=r"got \(2, 3\), \(2, 4\)"):
        simsiam_loss([a, a], [a, b])
    with pytest.raises(ValueError, match=r"one shape \[B, P\], got \(2,\)"):
        simsiam_loss([torch.ones(2)] * 2, [torch.ones(2)] * 2)


@pytest.mark.parametrize(("predictions", "targets"), [(1, 1), (2, 0), (2, 3)])
def test_refuses_numbers_of_views_that_make_no_pairs(predictions, targets):
    view = torch.ones(2, 3)
    with pytest.raises(ValueError, match=f"got {predictions} predictions and {targets} targets"):
        simsiam_loss([view] * predictions, [view] * targets)
