from __future__ import annotations

import pytest
import torch

import sslight
from sslight.backbones.pooling import pooled


@pytest.mark.parametrize(
    "options", [{}, {"pooling": "avg", "class_token": False}, {"registers": 2}]
)
def test_it_is_what_forward_gives(options):
    net = sslight.backbone("vit_t_16", image_size=16, patch_size=4, depth=2, **options).eval()
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(pooled(net, net.tokens(images)), net(images))


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_timm_pools_by_its_own_head(pool):
    pytest.importorskip("timm")
    options = {"dynamic_img_size": True, "global_pool": pool}
    net = sslight.backbone("timm/vit_tiny_patch16_224", extra=options).eval()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(pooled(net, net.tokens(images)), net(images))
