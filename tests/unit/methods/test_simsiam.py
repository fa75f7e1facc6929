from __future__ import annotations

import pytest
import torch
from torch import nn

from sslight.losses.simsiam import simsiam_loss
from sslight.methods.simsiam import SimSiam


def build(**options) -> SimSiam:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return SimSiam(net, hidden_dim=16, out_dim=5, bottleneck_dim=4, **options)


def views(*sizes: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 3, size, size, generator=generator) for size in sizes]


def test_loss_is_that_of_projections_and_predictions():
    method, (a, b) = build(), views(8, 8)
    output = method.training_loss({"views": [a, b]})
    embedding = method.backbone(torch.cat([a, b]))
    z = method.projector(embedding)
    p = method.predictor(z)
    torch.testing.assert_close(output.loss, simsiam_loss(p.chunk(2), z.chunk(2)))
    torch.testing.assert_close(output.embedding, embedding)


@pytest.mark.parametrize("average_targets", [False, True])
def test_targets_are_the_global_views(average_targets):
    method, crops = build(average_targets=average_targets), views(8, 8, 8, 6)
    output = method.training_loss({"views": crops, "n_global": 3})
    z = method.projector(torch.cat([method.backbone(crop) for crop in crops]))
    p = method.predictor(z).chunk(4)
    expected = simsiam_loss(p, z.chunk(4)[:3], average_targets=average_targets)
    torch.testing.assert_close(output.loss, expected)
    assert output.embedding.shape == (16, 6)


def test_the_heads_are_the_papers():
    method = SimSiam(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    linears = [m for m in method.projector if isinstance(m, nn.Linear)]
    assert [m.out_features for m in linears] == [2048] * 3
    assert all(m.bias is None for m in linears)
    norms = [m for m in method.projector if isinstance(m, nn.BatchNorm1d)]
    assert [norm.affine for norm in norms] == [True, True, False]
    assert isinstance(method.projector[-1], nn.BatchNorm1d)
    assert [type(m) for m in method.predictor] == [
        *(nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear),
    ]
    assert method.predictor[0].out_features == 512
    assert method.predictor[-1].bias is not None


def test_gradients_come_through_the_predictor_only():
    method = build()
    method.training_loss({"views": views(8, 8)}).loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())
    with torch.no_grad():
        for parameter in method.predictor.parameters():
            parameter.zero_()
        method.predictor[-1].bias.fill_(1.0)  # a constant prediction
    method.zero_grad()
    method.training_loss({"views": views(8, 8)}).loss.backward()
    assert all((p.grad == 0).all() for p in method.backbone.parameters())


def test_evaluated_is_the_backbone():
    method = build()
    assert method.eval_backbone is method.backbone
    assert method.accumulation == "exact"
