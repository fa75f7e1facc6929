from __future__ import annotations

import pytest
import tiny
import torch
from torch import nn

import sslight
from sslight.errors import RefusedRunError
from sslight.methods.ibot import IBOT
from sslight.schedules import Clock

SIZES = {"hidden_dim": 12, "bottleneck_dim": 6, "out_dim": 7}


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(IBOT, "clock", Clock(step=0, total=100, per_epoch=5))
    torch.manual_seed(0)


def batch(*sizes: int, masked: bool = True) -> dict:
    generator = torch.Generator().manual_seed(1)
    views = [torch.randn(4, 3, size, size, generator=generator) for size in sizes]
    masks = [torch.rand(4, 16, generator=generator) < 0.4 * masked for _ in range(2)]
    return {"views": views, "n_global": 2, "masks": masks}


def test_a_count_from_the_worker_changes_nothing():
    method = IBOT(tiny.vit(), **SIZES).eval()
    crops = batch(16, 16, 8)
    whole = method.training_loss(crops).loss
    count = int(torch.cat(crops["masks"]).sum())
    torch.testing.assert_close(method.training_loss({**crops, "n_masked": count}).loss, whole)


@pytest.mark.parametrize("shared", [True, False])
def test_students_learn_and_teachers_do_not(shared):
    method = IBOT(tiny.vit(), shared_head=shared, **SIZES)
    method.training_loss(batch(16, 16, 8)).loss.backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is None) == name.startswith("teacher_"), name
    assert method.backbone.mask_token.grad.any()
    assert (method.heads.patch is None) == shared


def test_the_teacher_sees_whole_global_crops():
    method = IBOT(tiny.vit(), **SIZES)
    method.backbone.mask_token.data.fill_(100)
    method.teacher_backbone.teacher.mask_token.data.fill_(100)
    crops = batch(16, 16, 8)
    output = method.training_loss(crops)
    expected = method.eval_backbone(torch.cat(crops["views"][:2]))
    torch.testing.assert_close(output.embedding, expected)
    assert method.eval_backbone is method.teacher_backbone.teacher


def test_a_step_without_masked_patches_has_the_class_tokens_loss_only():
    method = IBOT(tiny.vit(), **SIZES, cls_weight=0.5)
    output = method.training_loss({**batch(16, 16, masked=False), "n_masked": 0})
    assert output.logs["patch_loss"].item() == 0
    torch.testing.assert_close(output.loss, 0.5 * output.logs["cls_loss"])
    output.loss.backward()


@pytest.mark.parametrize("moment", ["eval", "no_grad"])
def test_centers_move_while_training_only(moment):
    method = IBOT(tiny.vit(), **SIZES).train(moment != "eval")
    with torch.set_grad_enabled(moment != "no_grad"):
        method.training_loss(batch(16, 16))
    assert not method.center.value.any()
    assert not method.patch_center.value.any()


def test_backbones_without_patches_or_class_token_are_refused():
    with pytest.raises(RefusedRunError, match="IBOT reads patch tokens"):
        IBOT(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), **SIZES)
    backbone = sslight.backbone(**{**tiny.VIT, "class_token": False, "pooling": "avg"})
    with pytest.raises(ValueError, match="class_token true"):
        IBOT(backbone, **SIZES).training_loss(batch(16, 16))
