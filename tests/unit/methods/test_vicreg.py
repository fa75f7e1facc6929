from __future__ import annotations

import pytest
import torch
from torch import nn

from sslight.losses.vicreg import vicreg_loss
from sslight.methods.vicreg import VICReg


def build(**options) -> VICReg:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return VICReg(net, hidden_dim=16, out_dim=5, **options)


def views(*sizes: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 3, size, size, generator=generator) for size in sizes]


@pytest.mark.parametrize("sizes", [(8, 8), (8, 8, 6)])
def test_loss_is_that_of_the_projections(sizes):
    method = build(invariance_weight=3, variance_weight=2, covariance_weight=0.5)
    crops = views(*sizes)
    output = method.training_loss({"views": crops})
    embedding = torch.cat([method.backbone(crop) for crop in crops])
    projections = method.projector(embedding).chunk(len(crops))
    torch.testing.assert_close(output.loss, vicreg_loss(projections, 3, 2, 0.5))
    torch.testing.assert_close(output.embedding, embedding)


def test_the_projector_is_the_papers():
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.device("meta"):
        method = VICReg(net)
    linears = [m for m in method.projector if isinstance(m, nn.Linear)]
    assert [m.out_features for m in linears] == [8192] * 3
    assert all(m.bias is None for m in linears)
    assert isinstance(method.projector[-1], nn.Linear)


def test_refuses_negative_weights():
    with pytest.raises(ValueError, match=r"0 or more, got \(25.0, -1, 1.0\)"):
        build(variance_weight=-1)


def test_facts_of_the_method():
    method = build()
    assert method.accumulation == "approximate"
    assert method.eval_backbone is method.backbone
