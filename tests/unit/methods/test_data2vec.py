from __future__ import annotations

import pytest
import tiny
import torch

from sslight.methods.data2vec import Data2Vec
from sslight.schedules import Clock


@pytest.fixture
def method():
    torch.manual_seed(0)
    return Data2Vec(tiny.vit(), target_blocks=2)


def batch(views: int = 1) -> dict:
    generator = torch.Generator().manual_seed(1)
    return {
        "views": [torch.randn(4, 3, 16, 16, generator=generator) for _ in range(views)],
        "masks": [torch.rand(4, 16, generator=generator) < 0.6 for _ in range(views)],
    }


def test_what_is_masked_is_hidden_from_the_student_only(method):
    made = batch()
    loss = method.training_loss(made).loss
    hidden = made["masks"][0].view(4, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    images = made["views"][0]
    tokens = method.backbone.tokens(images, mask=made["masks"][0])
    other = torch.where(hidden, images + 1, images)
    torch.testing.assert_close(method.backbone.tokens(other, mask=made["masks"][0]), tokens)
    changed = method.training_loss({**made, "views": [other]}).loss
    assert not torch.allclose(changed, loss)


def test_embedding_is_that_of_the_evaluated_teacher(method):
    made = batch(2)
    with torch.no_grad():
        for parameter in method.backbone.parameters():
            parameter.mul_(1.1)
    output = method.training_loss(made)
    assert method.eval_backbone is method.teacher.teacher
    torch.testing.assert_close(output.embedding, method.eval_backbone(torch.cat(made["views"])))


def test_two_views_are_a_larger_batch(method):
    made = batch(2)
    made["masks"][1] = made["masks"][0].roll(1, 1)  # as many
    both = method.training_loss(made).loss
    each = [
        method.training_loss({k: [made[k][i]] for k in ("views", "masks")}).loss for i in range(2)
    ]
    torch.testing.assert_close(both, (each[0] + each[1]) / 2)


def test_students_learn_and_teachers_do_not(method):
    method.training_loss(batch()).loss.backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is None) == name.startswith("teacher."), name


def test_the_teacher_has_no_drop_path_and_a_momentum(method):
    assert not method.train().teacher.teacher.training
    assert method.teacher.momentum(Clock(0, 10, 5)) == 0.9998


def test_positions_may_be_fixed_the_teachers_too(method):
    assert method.backbone.pos_embed.requires_grad
    fixed = Data2Vec(tiny.vit(), target_blocks=2, fixed_positions=True)
    assert not fixed.backbone.pos_embed.requires_grad
    assert torch.equal(fixed.teacher.teacher.pos_embed, fixed.backbone.pos_embed)


def test_errors_say_what_to_give(method):
    with pytest.raises(ValueError, match=r"target_blocks must be 1 or more .* got 0 and 2.0"):
        Data2Vec(tiny.vit(), target_blocks=0)
    with pytest.raises(ValueError, match=r"block_outputs\(last=6\); there are 2 blocks"):
        Data2Vec(tiny.vit()).training_loss(batch())
    with pytest.raises(ValueError, match="mask has shape"):
        method.training_loss({**batch(), "masks": [torch.ones(4, 4, dtype=torch.bool)]})
