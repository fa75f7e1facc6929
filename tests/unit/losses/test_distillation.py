from __future__ import annotations

import pytest
import torch

from sslight.losses.distillation import (
    prototype_distillation,
    similarity_distillation,
    soft_targets,
)


def test_a_student_that_is_its_teacher_has_nothing_to_learn():
    logits = torch.randn(4, 5).requires_grad_()
    loss = soft_targets(logits, logits, 3)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert torch.autograd.grad(loss, logits)[0].abs().max() < 1e-6


def test_teachers_and_anchors_get_no_gradient():
    student, teacher, anchors = (torch.randn(3, 4).requires_grad_() for _ in range(3))
    loss = soft_targets(student, teacher, 2) + similarity_distillation(student, teacher, anchors)
    loss = loss + sum(prototype_distillation(student, teacher, iterations=k) for k in (0, 3))
    loss.backward()
    assert student.grad is not None
    assert teacher.grad is None
    assert anchors.grad is None


def test_bfloat16_is_computed_in_float32():
    a, b, c = (torch.randn(6, 8).bfloat16() for _ in range(3))
    loss = similarity_distillation(a, b, c)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, similarity_distillation(a.float(), b.float(), c.float()))


def test_refuses_shapes_that_do_not_agree():
    with pytest.raises(ValueError, match=r"soft_targets: .*got \(2, 3\) and \(2, 4\)"):
        soft_targets(torch.ones(2, 3), torch.ones(2, 4), 1)
    with pytest.raises(ValueError, match=r"anchors must be \[K, P\] with P = 3, got \(5, 4\)"):
        similarity_distillation(torch.ones(2, 3), torch.ones(2, 3), torch.ones(5, 4))
    with pytest.raises(ValueError, match="prototype_distillation: student and teacher must have"):
        prototype_distillation(torch.ones(2, 3), torch.ones(2, 4))
