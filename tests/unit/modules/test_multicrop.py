from __future__ import annotations

import pytest
import tiny
import torch
from torch import nn

import sslight
from sslight.modules.multicrop import forward_crops, forward_tokens


class Counting(nn.Module):
    """The mean over pixels, noting the shape of each pass."""

    def __init__(self):
        super().__init__()
        self.passes = []

    def forward(self, images):
        self.passes.append(tuple(images.shape))
        return images.mean((2, 3))


def test_one_pass_per_resolution_in_crop_major_order():
    views = [torch.randn(2, 3, size, size) for size in (8, 8, 4, 4, 4)]
    backbone = Counting()
    out = forward_crops(backbone, views)
    assert backbone.passes == [(4, 3, 8, 8), (6, 3, 4, 4)]
    torch.testing.assert_close(out, torch.cat([view.mean((2, 3)) for view in views]))


def test_a_single_view_is_not_copied():
    view = torch.randn(2, 3, 4, 4)
    seen = []
    forward_crops(lambda images: seen.append(images) or images, [view])
    assert seen[0] is view


def test_no_views_is_an_error():
    with pytest.raises(ValueError, match="got no views"):
        forward_crops(Counting(), [])


def test_tokens_of_all_crops():
    vit = sslight.backbone(**{**tiny.VIT, "registers": 2, "mask_token": True})
    crops = [torch.randn(2, 3, size, size) for size in (16, 16, 8)]
    mask = torch.rand(4, 16) < 0.5
    cls, patches = forward_tokens(vit, crops[:2], crops[2:], mask)
    expected = vit.tokens(torch.cat(crops[:2]), mask=mask)
    torch.testing.assert_close(patches, expected[:, 3:])
    torch.testing.assert_close(cls, torch.cat([expected[:, 0], vit(crops[2])]))
    whole, _ = forward_tokens(vit, crops[:2])
    torch.testing.assert_close(whole, vit(torch.cat(crops[:2])))
