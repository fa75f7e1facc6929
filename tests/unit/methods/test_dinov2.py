from __future__ import annotations

import pytest
import tiny
import torch

import sslight
from sslight.methods.dinov2 import DINOv2
from sslight.schedules import Clock

SIZES = {"hidden_dim": 12, "bottleneck_dim": 6, "out_dim": 7}


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(DINOv2, "clock", Clock(step=0, total=100, per_epoch=5))
    torch.manual_seed(0)


def batch(*sizes: int) -> dict:
    generator = torch.Generator().manual_seed(1)
    views = [torch.randn(4, 3, size, size, generator=generator) for size in sizes]
    masks = [torch.rand(4, 16, generator=generator) < 0.4 for _ in range(2)]
    return {"views": views, "n_global": 2, "masks": masks}


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("registers", [0, 2])
def test_students_learn_and_teachers_do_not(shared, registers):
    backbone = sslight.backbone(**{**tiny.VIT, "registers": registers})
    method = DINOv2(backbone, shared_head=shared, gram_weight=1.0, **SIZES)
    method.training_loss(batch(16, 16, 8)).loss.backward()
    frozen = ("teacher_", "gram_teacher.")
    for name, parameter in method.named_parameters():
        assert (parameter.grad is None) == name.startswith(frozen), name


def test_a_count_from_the_worker_changes_nothing():
    method = DINOv2(tiny.vit(), **SIZES).eval()
    crops = batch(16, 16, 8)
    count = int(torch.cat(crops["masks"]).sum())
    counted = method.training_loss({**crops, "n_masked": count}).loss
    torch.testing.assert_close(method.training_loss(crops).loss, counted)


def test_the_embedding_is_the_teachers_of_the_global_crops():
    method = DINOv2(tiny.vit(), **SIZES)
    crops = batch(16, 16, 8)
    output = method.training_loss(crops)
    torch.testing.assert_close(
        output.embedding, method.eval_backbone(torch.cat(crops["views"][:2]))
    )
    assert method.eval_backbone is method.teacher_backbone.teacher
    assert {"cls_loss", "patch_loss", "koleo_loss", "teacher_entropy"} == set(output.logs)


def test_the_gram_teacher_exists_where_it_has_a_weight():
    assert DINOv2(tiny.vit(), **SIZES).gram_teacher is None
    state = DINOv2(tiny.vit(), gram_weight=1.0, **SIZES).state_dict()
    assert "gram_teacher.copy.cls_token" in state
