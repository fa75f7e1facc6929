from __future__ import annotations

import pytest
import torch

from sslight.losses.simmim import simmim_loss


def test_only_masked_pixels_count():
    images = torch.zeros(1, 2, 4, 4)
    mask = torch.tensor([[True, False, False, True]])
    prediction = torch.full((1, 4, 8), 3.0)
    prediction[:, 1:3] = 99
    assert float(simmim_loss(prediction, images, mask, 2)) == pytest.approx(3, rel=1e-5)
    nothing = simmim_loss(prediction, images, torch.zeros_like(mask), 2)
    assert nothing == 0


def test_low_precision_is_widened():
    images, mask = torch.zeros(1, 1, 2, 2).bfloat16(), torch.ones(1, 1).bool()
    assert simmim_loss(torch.ones(1, 1, 4).bfloat16(), images, mask, 2).dtype == torch.float32


def test_shapes_that_do_not_agree():
    with pytest.raises(ValueError, match=r"simmim_loss: the images have patches \(2, 4, 12\)"):
        simmim_loss(torch.zeros(2, 5, 12), torch.zeros(2, 3, 4, 4), torch.zeros(2, 4), 2)
