from __future__ import annotations

import pytest
import torch
from torch import nn

from sslight.losses.dino import centered_softmax, dino_loss
from sslight.methods.dino import DINO
from sslight.schedules import Clock

BEFORE = Clock(step=0, total=10, per_epoch=5)


@pytest.fixture
def method(monkeypatch):
    monkeypatch.setattr(DINO, "clock", BEFORE)
    torch.manual_seed(0)
    return DINO(net(), hidden_dim=16, bottleneck_dim=6, out_dim=9, momentum=0.9)


def net(*more: nn.Module) -> nn.Module:
    layers = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), *more]
    return nn.Sequential(*layers)


def batch(*sizes: int, n_global: int = 2) -> dict:
    generator = torch.Generator().manual_seed(1)
    views = [torch.randn(4, 3, size, size, generator=generator) for size in sizes]
    return {"views": views, "n_global": n_global}


def test_every_crop_learns_from_the_other_global_ones(method):
    crops = batch(8, 8, 6, 6)
    method.center.value.copy_(torch.linspace(-0.1, 0.1, 9))
    center = method.center.value.clone()
    output = method.training_loss(crops)
    students = [method.head(method.backbone(view)) for view in crops["views"]]
    logits = [method.teacher_head(method.teacher_backbone(v)) for v in crops["views"][:2]]
    targets = [centered_softmax(row, center, method.teacher_temperature(BEFORE)) for row in logits]
    torch.testing.assert_close(output.loss, dino_loss(students, targets, 0.1))
    entropy, kl = output.logs["teacher_entropy"], output.logs["teacher_student_kl"]
    torch.testing.assert_close(entropy + kl, output.loss.detach())
    assert kl > 0
    torch.testing.assert_close(method.center.value, 0.9 * center + 0.1 * torch.cat(logits).mean(0))


def test_the_embedding_is_the_teachers_of_the_global_crops(method):
    crops = batch(8, 8, 6)
    with torch.no_grad():
        method.backbone[0].weight.add_(1)  # the teacher has not followed yet
    output = method.training_loss(crops)
    expected = method.eval_backbone(torch.cat(crops["views"][:2]))
    torch.testing.assert_close(output.embedding, expected)
    assert method.eval_backbone is method.teacher_backbone.teacher


def test_students_learn_and_teachers_do_not(method):
    method.training_loss(batch(8, 8, 6)).loss.backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is None) == name.startswith("teacher_"), name


@pytest.mark.parametrize("moment", ["eval", "no_grad"])
def test_the_center_moves_while_training_only(method, moment):
    method.train(moment != "eval")
    with torch.set_grad_enabled(moment != "no_grad"):
        method.training_loss(batch(8, 8))
    assert not method.center.value.any()


def test_both_teachers_follow_after_a_step(method):
    before = method.teacher_head.teacher.last_layer.weight.clone()
    with torch.no_grad():
        method.head.last_layer.weight.add_(1)
    method.teacher_head.after_step(BEFORE)
    torch.testing.assert_close(method.teacher_head.teacher.last_layer.weight, before + 0.1)
    momentum = DINO(net(), hidden_dim=4, bottleneck_dim=2, out_dim=3).teacher_backbone.momentum
    assert momentum(BEFORE) == pytest.approx(0.996)
    assert momentum(Clock(10, 10, 5)) == 1


def test_the_temperature_rises_by_epochs_over_the_first_tenth(method):
    values = [method.teacher_temperature(Clock(step, 200, 5)) for step in range(0, 30, 2)]
    assert values[:3] == [0.04, 0.04, 0.04]  # steps 0, 2, 4: the first epoch
    assert values[3] == pytest.approx(0.04 + 0.03 / 4)
    assert values[10:] == pytest.approx([0.07] * 5)


def test_no_drop_in_the_teacher(monkeypatch):
    monkeypatch.setattr(DINO, "clock", BEFORE)
    method = DINO(net(nn.Dropout(0.5)), hidden_dim=8, bottleneck_dim=4, out_dim=5).train()
    images = batch(8)["views"][0]
    assert torch.equal(method.teacher_backbone(images), method.teacher_backbone(images))
    assert not torch.equal(method.backbone(images), method.backbone(images))


def test_state_holds_teachers_and_center(method):
    names = set(method.state_dict())
    assert {"backbone.0.weight", "teacher_backbone.teacher.0.weight", "center.value"} <= names
    assert {"head.last_layer.weight", "teacher_head.teacher.last_layer.weight"} <= names
