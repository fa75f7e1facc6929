"""DINO: self-distillation without labels, local crops learning from a teacher's global ones."""

from __future__ import annotations

from typing import ClassVar, Literal, cast

import torch
from torch import nn

from sslight.losses.dino import centered_softmax, dino_loss, mean_entropy
from sslight.module import SSLModule
from sslight.modules.center import RISING_TEMPERATURE, Center
from sslight.modules.dino_head import DINOHead
from sslight.modules.drop import without_drop
from sslight.modules.ema import EMA
from sslight.modules.multicrop import forward_crops
from sslight.optim import Recipe
from sslight.schedules import Cosine, Schedule, as_schedule
from sslight.types import Batch, StepOutput


class DINO(SSLModule):
    """DINO (Caron et al., 2021, arXiv:2104.14294), eq. 1 to 4, algorithm 1.

    Student and teacher are backbone and head; the teacher is their momentum average. The teacher
    turns each global crop into probabilities over ``out_dim`` prototypes, centred by a running mean
    and sharpened by a low temperature; the student matches them from every *other* crop by
    cross-entropy. Evaluated, and probed while training, is the teacher's backbone.

    In a YAML: ``method: {name: dino}`` with views from ``{name: dino}``. The paper's temperature is
    ``teacher_temperature: {name: warmup, start: 0.04, epochs: 30, schedule: {name: constant, value:
    0.07}, per: epoch}``; its last layer rests for an epoch by ``optim: {groups: [{pattern:
    ^head.last_layer, freeze_epochs: 1}]}``.

    Args:
        backbone: Maps images of several sizes to ``[B, D]``; a ResNet or a vision transformer.
        optim: The optimisation recipe.
        hidden_dim: Width of the head's hidden layers.
        bottleneck_dim: Width of the head's bottleneck.
        out_dim: Number of prototypes.
        bn: Batch norm in the head.
        norm_last_layer: Keep prototypes at length 1: more stable; for a small ViT worse.
        student_temperature: T of the student.
        teacher_temperature: T of the teacher.
        center_momentum: Of the running mean of the teacher's logits.
        momentum: Of the teacher; a plain number stays constant.

    Note:
        The default temperature rises during the first tenth of training, the paper's 30 of 300
        epochs, so that short trainings have a warmup too. The authors' warmups reach their end one
        step (of the temperature: one epoch) early and repeat it; ours do not. Both cosines stop a
        step short of their end. Dropout and drop path are off in the teacher; its batch norms use
        the batch, as theirs do.
    """

    accumulation: ClassVar[Literal["exact", "approximate"]] = "approximate"
    default_views: ClassVar[str] = "dino"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        hidden_dim: int = 2048,
        bottleneck_dim: int = 256,
        out_dim: int = 65536,
        bn: bool = False,
        norm_last_layer: bool = True,
        student_temperature: float = 0.1,
        teacher_temperature: float | Schedule = RISING_TEMPERATURE,
        center_momentum: float = 0.9,
        momentum: float | Schedule = Cosine(0.996, 1.0),  # noqa: B008  a frozen dataclass
    ) -> None:
        super().__init__(backbone, optim)
        self.student_temperature = student_temperature
        self.teacher_temperature = as_schedule(teacher_temperature)
        self.head = DINOHead(
            cast(int, self.backbone.embed_dim),
            hidden_dim,
            bottleneck_dim,
            out_dim,
            bn=bn,
            norm_last_layer=norm_last_layer,
        )
        self.teacher_backbone = EMA(self.backbone, momentum)
        self.teacher_head = EMA(self.head, momentum)
        without_drop(self.teacher_backbone)
        self.center = Center(out_dim, center_momentum)

    @property
    def eval_backbone(self) -> nn.Module:
        """The teacher's backbone."""
        return self.teacher_backbone.teacher

    @property
    def prototype_head(self) -> nn.Module:
        """Compares embeddings ``[B, D]`` with the prototypes: the teacher's logits ``[B, K]``."""
        return self.teacher_head.teacher

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the cross-entropy of every crop with every other crop's target."""
        views = batch["views"]
        global_views = views[: batch.get("n_global", len(views))]
        students = self.head(forward_crops(self.backbone, views)).chunk(len(views))  # V of [B, K]
        embedding = forward_crops(self.teacher_backbone, global_views)  # [GB, D]
        logits = self.teacher_head(embedding)  # [GB, K]
        targets = centered_softmax(logits, self.center.value, self.teacher_temperature(self.clock))
        loss = dino_loss(students, targets.chunk(len(global_views)), self.student_temperature)
        if self.training and torch.is_grad_enabled():
            self.center.update(logits)
        entropy = mean_entropy(targets)
        logs = {"teacher_entropy": entropy, "teacher_student_kl": loss.detach() - entropy}
        return StepOutput(loss, embedding=embedding, logs=logs)
