from __future__ import annotations

import pytest
import torch
from torch import nn

from sslight.losses.lejepa import lejepa_loss
from sslight.methods.lejepa import LeJEPA


def build(step: int = 0, **options) -> LeJEPA:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    method = LeJEPA(net, hidden_dim=16, out_dim=5, num_slices=7, **options)
    method.shared_generator = lambda tag: torch.Generator().manual_seed(tag + step)  # no trainer
    return method


def views(*sizes: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 3, size, size, generator=generator) for size in sizes]


@pytest.mark.parametrize(("center", "targets"), [("global", 2), ("all", 3)])
def test_loss_is_that_of_the_projections(center, targets):
    method = build(center=center, sigreg_weight=0.2, knots=9, t_max=5.0)
    crops = views(8, 8, 6)
    output = method.training_loss({"views": crops, "n_global": 2})
    embedding = torch.cat([method.backbone(crop) for crop in crops])
    z = method.projector(embedding).chunk(3)
    directions = method._directions()
    expected = lejepa_loss(z, z[:targets], directions, 0.2, knots=9, t_max=5.0)
    torch.testing.assert_close(output.loss, expected)
    torch.testing.assert_close(output.embedding, embedding)


def test_without_a_number_all_views_are_global():
    method, crops = build(), views(8, 8)
    loss = method.training_loss({"views": crops}).loss
    torch.testing.assert_close(loss, method.training_loss({"views": crops, "n_global": 2}).loss)


def test_directions_are_unit_vectors_of_their_step():
    directions = build()._directions()
    assert directions.shape == (5, 7)
    torch.testing.assert_close(directions.norm(dim=0), torch.ones(7))
    assert torch.equal(directions, build()._directions())
    assert not torch.equal(directions, build(step=1)._directions())


def test_every_parameter_gets_a_gradient():
    method = build()
    method.training_loss({"views": views(8, 8)}).loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigreg_weight": 1.5}, r"sigreg_weight is 1.5; it lies in \[0, 1\]"),
        ({"center": "local"}, "center is 'local'; use 'global' or 'all'"),
        ({"knots": 1}, "knots of 2 or more and t_max above 0, got 7, 1 and 3.0"),
        ({"t_max": 0}, "got 7, 17 and 0"),
    ],
)
def test_refuses_numbers_without_sense(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_facts_of_the_method():
    method = build()
    assert method.accumulation == "approximate"
    assert method.eval_backbone is method.backbone
    assert [m.out_features for m in method.projector if isinstance(m, nn.Linear)] == [16, 16, 5]
