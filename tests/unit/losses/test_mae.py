from __future__ import annotations

import pytest
import torch

from sslight.losses.mae import mae_loss


def test_a_perfect_prediction_costs_nothing_and_visible_patches_do_not_count():
    images = torch.arange(32.0).view(2, 1, 4, 4)
    mask = torch.tensor([[True, True, False, False]] * 2)
    patches = torch.tensor([[0.0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]])
    prediction = torch.stack([patches, patches + 16])
    prediction[:, 2:] = 99
    assert mae_loss(prediction, images, mask, 2, norm_pix=False) == 0
    assert mae_loss(prediction + 2, images, mask, 2, norm_pix=False) == 4
    assert mae_loss(prediction, images, mask, 2) > 0  # not normalised


def test_a_flat_patch_has_a_finite_target():
    loss = mae_loss(torch.ones(1, 4, 12), torch.ones(1, 3, 4, 4), torch.ones(1, 4).bool(), 2)
    assert loss == 1


def test_low_precision_is_widened():
    prediction = torch.randn(2, 4, 12).bfloat16()
    images, mask = torch.randn(2, 3, 4, 4).bfloat16(), torch.ones(2, 4).bool()
    assert mae_loss(prediction, images, mask, 2).dtype == torch.float32


@pytest.mark.parametrize(
    ("prediction", "mask"), [((2, 4, 11), (2, 4)), ((2, 3, 12), (2, 4)), ((2, 4, 12), (2, 3))]
)
def test_shapes_that_do_not_agree(prediction, mask):
    with pytest.raises(ValueError, match=r"mae_loss: the images have patches \(2, 4, 12\)"):
        mae_loss(torch.zeros(prediction), torch.zeros(2, 3, 4, 4), torch.zeros(mask), 2)
