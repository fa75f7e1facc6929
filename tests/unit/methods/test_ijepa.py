from __future__ import annotations

import pytest
import tiny
import torch

from sslight.augment.jepa_masks import JepaMasks
from sslight.backbones.vit_model import VisionTransformer
from sslight.errors import RefusedRunError
from sslight.methods.ijepa import IJEPA

SIZES = {"predictor_dim": 16, "predictor_depth": 1, "predictor_heads": 2}


@pytest.fixture
def method():
    torch.manual_seed(0)
    return IJEPA(tiny.vit(), **SIZES)


def batch(grid: int = 4) -> dict:
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return {"views": [images], **JepaMasks(grid).draw(0, 0, torch.arange(4))}


def test_the_student_sees_the_context_only(method):
    made = batch()
    seen = torch.zeros(4, 16).scatter_(1, made["context"], 1.0).view(4, 1, 4, 4)
    seen = seen.repeat_interleave(4, 2).repeat_interleave(4, 3).bool()
    images = made["views"][0]
    other = torch.where(seen, images, images + 1)
    kept = made["context"]
    torch.testing.assert_close(
        method.backbone.tokens(other, keep=kept), method.backbone.tokens(images, keep=kept)
    )
    changed = method.training_loss({**made, "views": [other]}).loss  # the teacher sees everything
    assert not torch.allclose(changed, method.training_loss(made).loss)


def test_embedding_is_that_of_the_evaluated_teacher(method):
    made = batch()
    with torch.no_grad():
        for parameter in method.backbone.parameters():
            parameter.mul_(1.1)
    output = method.training_loss(made)
    assert method.eval_backbone is method.teacher.teacher
    torch.testing.assert_close(output.embedding, method.eval_backbone(made["views"][0]))


def test_students_learn_and_teachers_do_not(method):
    method.training_loss(batch()).loss.backward()
    for name, parameter in method.named_parameters():
        still = name.startswith("teacher.") or name.endswith("pos_embed")
        assert (parameter.grad is None) == still, name


def test_positions_are_fixed_unless_told_otherwise(method):
    assert isinstance(method.backbone, VisionTransformer)
    assert not method.backbone.pos_embed.requires_grad
    assert IJEPA(tiny.vit(), fixed_positions=False, **SIZES).backbone.pos_embed.requires_grad


def test_blocks_of_another_grid_are_refused(method):
    with pytest.raises(RefusedRunError, match=r"drawn for 7 x 7 patches, .* makes 4 x 4 of a view"):
        method.training_loss(batch(grid=7))


def test_refuses_a_beta_of_zero():
    with pytest.raises(ValueError, match="ijepa: beta must be above 0, got 0"):
        IJEPA(tiny.vit(), beta=0, **SIZES)
