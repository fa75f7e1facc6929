from __future__ import annotations

import pytest
import torch
from torch import nn

from sslight.errors import RefusedRunError
from sslight.losses.ressl import relational_loss
from sslight.methods.ressl import ReSSL


def build(**options) -> ReSSL:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return ReSSL(net, **{"hidden_dim": 16, "out_dim": 5, "queue_size": 10, **options})


def views(*sizes: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 3, size, size, generator=generator) for size in sizes]


def test_the_weak_view_teaches_the_strong_one():
    method, (weak, strong) = build(), views(8, 8)
    before = method.queue.rows.clone()
    output = method.training_loss({"views": [weak, strong]})
    embedding = method.backbone(strong)
    student, teacher = method.projector(embedding), method.teacher(weak)
    torch.testing.assert_close(output.loss, relational_loss(student, teacher, before, 0.1, 0.04))
    torch.testing.assert_close(output.embedding, embedding)


def test_several_strong_views_are_averaged():
    method, crops = build().eval(), views(8, 8, 6)
    output = method.training_loss({"views": crops})
    pairs = [method.training_loss({"views": [crops[0], crop]}).loss for crop in crops[1:]]
    torch.testing.assert_close(output.loss, sum(pairs) / 2)
    assert output.embedding.shape == (8, 6)


def test_the_teachers_projections_enter_the_queue_normalised():
    method, crops = build(), views(8, 8)
    method.training_loss({"views": crops})
    k = method.teacher(crops[0])
    torch.testing.assert_close(method.queue.rows[:4], k / k.norm(dim=1, keepdim=True))


def test_without_gradient_or_training_the_queue_rests():
    method, crops = build(), views(8, 8)
    before = method.queue.rows.clone()
    with torch.no_grad():
        method.training_loss({"views": crops})
    method.eval().training_loss({"views": crops})
    assert torch.equal(method.queue.rows, before)


@pytest.mark.parametrize("bn", [True, False])
def test_the_projectors_batch_norm_can_be_left_out(bn):
    method = build(bn=bn)
    for network in (method.projector, method.teacher):
        assert any(isinstance(m, nn.BatchNorm1d) for m in network.modules()) == bn
    assert (method.projector[0].bias is None) == bn


def test_only_the_student_learns():
    method = build()
    method.training_loss({"views": views(8, 8)}).loss.backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is None) == name.startswith("teacher."), name
    assert method.eval_backbone is method.backbone


@pytest.mark.parametrize(("teacher", "student"), [(0.1, 0.1), (0.2, 0.1), (0.0, 0.1)])
def test_a_teacher_that_is_not_sharper_is_refused(teacher, student):
    with pytest.raises(ValueError, match="the teacher must be the sharper"):
        build(teacher_temperature=teacher, student_temperature=student)


def test_a_single_view_is_refused():
    with pytest.raises(RefusedRunError, match="a weak view and one or more strong ones"):
        build().training_loss({"views": views(8)})
