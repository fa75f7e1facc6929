from __future__ import annotations

import pytest
import torch
from torch import nn

from sslight.losses.byol import byol_loss
from sslight.methods.byol import BYOL
from sslight.schedules import Clock


@pytest.fixture
def method():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return BYOL(net, hidden_dim=16, out_dim=5, momentum=0.9)


def views(*sizes: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 3, size, size, generator=generator) for size in sizes]


def test_loss_is_the_symmetric_regression(method):
    a, b = views(8, 8)
    output = method.training_loss({"views": [a, b]})
    embedding = method.backbone(torch.cat([a, b]))
    predictions = method.predictor(method.projector(embedding)).chunk(2)
    targets = method.teacher(torch.cat([a, b])).chunk(2)
    torch.testing.assert_close(output.loss, byol_loss(predictions, targets))
    torch.testing.assert_close(output.embedding, embedding)


def test_teacher_sees_the_global_crops_only(method):
    crops = views(8, 8, 6)
    seen = []
    method.teacher.teacher[0].register_forward_hook(lambda m, i, o: seen.append(i[0].shape))
    method.training_loss({"views": crops, "n_global": 2})
    assert seen == [(8, 3, 8, 8)]


def test_students_learn_and_teachers_do_not(method):
    method.training_loss({"views": views(8, 8)}).loss.backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is None) == name.startswith("teacher."), name


def test_teacher_follows_backbone_and_projector_after_a_step(method):
    before = method.teacher.teacher[0][0].weight.clone()
    head = method.teacher.teacher[1][0].weight.clone()
    with torch.no_grad():
        method.backbone[0].weight.add_(1)
        method.projector[0].weight.add_(1)
    method.teacher.after_step(Clock(step=0, total=10, per_epoch=5))
    torch.testing.assert_close(method.teacher.teacher[0][0].weight, before + 0.1)
    torch.testing.assert_close(method.teacher.teacher[1][0].weight, head + 0.1)


def test_default_momentum_and_eval_mode():
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    method = BYOL(net, hidden_dim=4, out_dim=2, teacher_eval=True).train()
    assert not method.teacher.teacher.training
    momentum = method.teacher.momentum
    assert momentum(Clock(0, 10, 5)) == pytest.approx(0.996)
    assert momentum(Clock(10, 10, 5)) == pytest.approx(1.0)


def test_state_holds_the_teacher_and_the_online_network_once(method):
    names = list(method.state_dict())
    assert "backbone.0.weight" in names
    assert "teacher.teacher.0.0.weight" in names
    assert len(names) == len(set(names))
    assert not any("_online" in name or "online" in name for name in names)


def test_evaluated_is_the_online_backbone(method):
    assert method.eval_backbone is method.backbone
