from __future__ import annotations

import pytest
import torch
from torch import nn

from sslight.losses.dcl import dcl
from sslight.methods.dcl import DCL


def build(**options) -> DCL:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return DCL(net, hidden_dim=16, out_dim=5, temperature=0.2, **options)


def views(*sizes: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 3, size, size, generator=generator) for size in sizes]


@pytest.mark.parametrize("weighted", [False, True])
def test_loss_is_that_of_the_projections(weighted):
    method, crops = build(weighted=weighted, sigma=0.3), views(8, 8)
    output = method.training_loss({"views": crops})
    embedding = method.backbone(torch.cat(crops))
    z = method.projector(embedding).chunk(2)
    torch.testing.assert_close(output.loss, dcl(z, 0.2, sigma=0.3 if weighted else None))
    torch.testing.assert_close(output.embedding, embedding)


def test_many_crops_of_two_sizes():
    method, crops = build(), views(8, 8, 6)
    output = method.training_loss({"views": crops})
    z = method.projector(torch.cat([method.backbone(crop) for crop in crops])).chunk(3)
    torch.testing.assert_close(output.loss, dcl(z, 0.2))
    assert output.embedding.shape == (12, 6)


def test_the_projector_can_end_with_a_batch_norm():
    """With scale and shift, after a layer without bias."""
    *_, linear, norm = build(last_bn=True).projector
    assert linear.bias is None
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.affine
    assert build().projector[-1].bias is not None


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"sigma": -1.0}])
def test_impossible_numbers_are_refused(options):
    (name,) = options
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ValueError, match=f"dcl: {name} must be above 0"):
        DCL(net, **options)
