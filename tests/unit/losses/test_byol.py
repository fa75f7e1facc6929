from __future__ import annotations

import pytest
import torch

from sslight.losses.byol import byol_loss, regression


def test_refuses_shapes_that_do_not_agree():
    with pytest.raises(ValueError, match=r"got \(2, 3\) and \(2, 4\)"):
        regression(torch.ones(2, 3), torch.ones(2, 4))


@pytest.mark.parametrize(("predictions", "targets"), [(1, 1), (2, 0), (2, 3)])
def test_refuses_numbers_of_crops_that_make_no_pairs(predictions, targets):
    crop = torch.ones(2, 3)
    with pytest.raises(ValueError, match=f"got {predictions} predictions and {targets} targets"):
        byol_loss([crop] * predictions, [crop] * targets)
