"""DINOv2's sum of losses, composed by hand over several steps; Gram anchoring, resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import tiny
import torch
from torch import Tensor

from sslight.callbacks.checkpoint import Checkpoint
from sslight.losses.dino import centered_softmax, dino_loss
from sslight.losses.gram import gram_loss
from sslight.losses.koleo import koleo
from sslight.losses.sinkhorn import sinkhorn
from sslight.methods.dinov2 import DINOv2
from sslight.schedules import Clock
from sslight.strategies import AtomicCheckpointIO

SIZES = {"hidden_dim": 12, "bottleneck_dim": 6, "out_dim": 7}
WEIGHTS = {"cls_weight": 0.7, "patch_weight": 1.3, "koleo_weight": 0.2}


def batch(step: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(step)
    views = [
        torch.randn(3, 3, size, size, generator=generator, dtype=torch.float64)
        for size in (16, 16, 8)
    ]
    masks = [torch.rand(3, 16, generator=generator) < 0.4 for _ in range(2)]
    masks[0][0] = False
    return {"views": views, "n_global": 2, "masks": masks}


def patch_loss(student: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """The mean over images of the mean over masked patches; targets are the masked patches'."""
    log_p = (student / 0.1).log_softmax(-1)
    images, row = [], 0
    for i in range(len(mask)):
        terms = []
        for p in mask[i].nonzero().flatten():
            terms.append(-(targets[row] * log_p[i, p]).sum())
            row += 1
        images.append(torch.stack(terms).mean() if terms else log_p.sum() * 0)
    return torch.stack(images).mean()


@pytest.mark.parametrize("centering", ["sinkhorn", "center"])
def test_the_method_is_all_losses_over_several_steps(centering, monkeypatch):
    monkeypatch.setattr(DINOv2, "clock", Clock(step=0, total=100, per_epoch=5))
    torch.manual_seed(0)
    method = DINOv2(
        tiny.vit(), **SIZES, **WEIGHTS, centering=centering, teacher_temperature=0.05
    ).double()
    teacher, heads = method.eval_backbone, method.teacher_heads.teacher
    centers = [torch.zeros(7, dtype=torch.float64)] * 2
    for step in range(3):
        crops = batch(step)
        views, mask = crops["views"], torch.cat(crops["masks"])
        tokens = method.backbone.tokens(torch.cat(views[:2]), mask=mask)
        cls = [*tokens[:, 0].chunk(2), method.backbone.tokens(views[2])[:, 0]]
        with torch.no_grad():
            seen = teacher.tokens(torch.cat(views[:2]))
            logits = [heads.cls(seen[:, 0]), heads.patch(seen[:, 1:][mask])]
        if centering == "sinkhorn":
            targets = [sinkhorn(x, 0.05) for x in logits]
        else:
            targets = [centered_softmax(x, c, 0.05) for x, c in zip(logits, centers, strict=True)]
            centers = [0.9 * c + 0.1 * x.mean(0) for c, x in zip(centers, logits, strict=True)]
        expected = (
            0.7 * dino_loss([method.heads.cls(x) for x in cls], targets[0].chunk(2), 0.1)
            + 1.3 * patch_loss(method.heads.patch(tokens[:, 1:]), targets[1], mask)
            + 0.2 * (koleo(cls[0]) + koleo(cls[1]))
        )
        output = method.training_loss({**crops, "n_masked": int(mask.sum())})
        assert output.loss.item() == pytest.approx(expected.item(), rel=1e-10)
        parameters = [p for p in method.parameters() if p.requires_grad]
        for mine, theirs in zip(
            torch.autograd.grad(output.loss, parameters),
            torch.autograd.grad(expected, parameters),
            strict=True,
        ):
            torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10)
        if centering == "center":
            for module, center in zip(
                (method.cls_targets, method.patch_targets), centers, strict=True
            ):
                torch.testing.assert_close(module.center.value, center)


def test_gram_anchoring_from_its_start_on(monkeypatch):
    torch.manual_seed(0)
    method = DINOv2(tiny.vit(), **SIZES, gram_weight=2.0, gram_start=1).double()
    crops, plain = batch(0), {}
    for epoch in (0, 1):
        clock = Clock(step=5 * epoch, total=100, per_epoch=5)
        monkeypatch.setattr(DINOv2, "clock", clock)
        with torch.no_grad():
            method.teacher_backbone.teacher.pos_embed.add_(0.5)  # so that student and anchor differ
        method.before_epoch(clock)
        plain[epoch] = method.training_loss(crops)
    assert "gram_loss" not in plain[0].logs
    images, mask = torch.cat(crops["views"][:2]), torch.cat(crops["masks"])
    students = method.backbone.tokens(images, mask=mask)[:, 1:]
    anchors = method.eval_backbone.tokens(images)[:, 1:]
    expected = gram_loss(students, anchors)
    assert expected > 1e-4
    torch.testing.assert_close(plain[1].logs["gram_loss"], expected)
    rest = [plain[1].logs[f"{name}_loss"] for name in ("cls", "patch", "koleo")]
    torch.testing.assert_close(plain[1].loss, rest[0] + rest[1] + 0.1 * rest[2] + 2 * expected)


def test_a_gram_teacher_that_sees_larger_copies(monkeypatch):
    """Its features are resized to the student's grid: bicubic, without antialiasing."""
    torch.manual_seed(0)
    method = DINOv2(tiny.vit(), **SIZES, gram_weight=1.0).double()
    clock = Clock(step=0, total=100, per_epoch=5)
    monkeypatch.setattr(DINOv2, "clock", clock)
    method.before_epoch(clock)
    crops, generator = batch(0), torch.Generator().manual_seed(9)
    large = [torch.randn(3, 3, 32, 32, generator=generator, dtype=torch.float64) for _ in range(2)]
    loss = method.training_loss({**crops, "anchors": large}).logs["gram_loss"]
    images, mask = torch.cat(crops["views"][:2]), torch.cat(crops["masks"])
    students = method.backbone.tokens(images, mask=mask)[:, 1:]
    seen = method.eval_backbone.tokens(torch.cat(large))[:, 1:]
    maps = seen.transpose(1, 2).unflatten(2, (8, 8))
    small = torch.nn.functional.interpolate(maps, size=(4, 4), mode="bicubic")
    torch.testing.assert_close(loss, gram_loss(students, small.flatten(2).transpose(1, 2)))
    assert not torch.allclose(loss, method.training_loss(crops).logs["gram_loss"])


class CrashError(Exception):
    """Not caught by anything in sslight."""


class CrashAt(pl.Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise CrashError


def trained(folder: Path, crash: int = 99, ckpt_path: Path | None = None) -> DINOv2:
    """Two steps an epoch; the Gram teacher is taken in epochs 1 and 3."""
    torch.manual_seed(0)
    method = DINOv2(tiny.vit(), **SIZES, gram_weight=1.0, gram_start=1, gram_every=2, momentum=0.9)
    checkpoint = Checkpoint(every_n_steps=1, every_n_epochs=None, keep_last=10)
    trainer = tiny.trainer(
        checkpoint,
        CrashAt(crash),
        max_epochs=4,
        default_root_dir=folder,
        enable_checkpointing=True,
        plugins=[AtomicCheckpointIO()],
    )
    trainer.fit(method, datamodule=tiny.data("dinov2"), ckpt_path=ckpt_path, weights_only=True)
    return method


@pytest.mark.parametrize("step", [2, 5, 6])
def test_resumed_equals_straight_with_a_gram_teacher(step, tmp_path):
    """Before its first copy; within an epoch after it; at the end of an epoch before the second."""
    straight = trained(tmp_path / "straight")
    with pytest.raises(CrashError):
        trained(tmp_path / "cut", step)
    newest = max((tmp_path / "cut").rglob("*.ckpt"))
    resumed = trained(tmp_path / "cut", ckpt_path=newest)
    assert resumed.trainer.global_step == 8
    tiny.assert_same(tiny.snapshot(straight), tiny.snapshot(resumed))
    anchor, teacher = straight.gram_teacher.copy, straight.eval_backbone
    assert not torch.equal(anchor.pos_embed, teacher.pos_embed)
