from __future__ import annotations

import pytest
import torch
from torch import nn

from sslight.errors import RefusedRunError
from sslight.losses.nnclr import nearest_neighbours, nnclr_loss
from sslight.methods.nnclr import NNCLR


@pytest.fixture
def method():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return NNCLR(net, hidden_dim=16, out_dim=5, predictor_dim=12, queue_size=10, temperature=0.2)


def views(count: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 3, 8, 8, generator=generator) for _ in range(count)]


def test_loss_is_that_of_neighbours_and_predictions(method):
    a, b = views()
    before = method.queue.rows.clone()
    output = method.training_loss({"views": [a, b]})
    embedding = method.backbone(torch.cat([a, b]))
    z = method.projector(embedding)
    neighbours = nearest_neighbours(z, before).chunk(2)
    expected = nnclr_loss(neighbours, method.predictor(z).chunk(2), 0.2)
    torch.testing.assert_close(output.loss, expected)
    torch.testing.assert_close(output.embedding, embedding)


def test_the_first_views_projections_enter_the_queue_normalised(method):
    a, b = views()
    z = method.projector(method.backbone(torch.cat([a, b])))[:4]
    method.training_loss({"views": [a, b]})
    torch.testing.assert_close(method.queue.rows[:4], z / z.norm(dim=1, keepdim=True))
    assert method.queue.cursor == 4


def test_without_gradient_or_training_the_queue_rests(method):
    before = method.queue.rows.clone()
    with torch.no_grad():
        method.training_loss({"views": views()})
    method.eval().training_loss({"views": views()})
    assert torch.equal(method.queue.rows, before)


def test_every_parameter_gets_a_gradient(method):
    method.training_loss({"views": views()}).loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_more_than_two_views_are_refused(method):
    with pytest.raises(RefusedRunError, match="compares two views, but the batch has 3"):
        method.training_loss({"views": views(3)})


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match="nnclr: temperature must be above 0"):
        NNCLR(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), queue_size=4, temperature=0.0)
