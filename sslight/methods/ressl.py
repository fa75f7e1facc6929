"""ReSSL: a strong view relates to other images as a momentum teacher sees it in a weak view."""

from __future__ import annotations

from typing import ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import nn

from sslight.errors import RefusedRunError
from sslight.losses.precision import widened
from sslight.losses.ressl import relational_loss
from sslight.module import SSLModule
from sslight.modules.ema import EMA
from sslight.modules.heads import mlp
from sslight.modules.multicrop import forward_crops
from sslight.modules.queue import Queue
from sslight.optim import Recipe
from sslight.schedules import Schedule
from sslight.types import Batch, StepOutput


class ReSSL(SSLModule):
    """ReSSL (Zheng et al., 2021, arXiv:2107.09282), eq. 4 to 6, algorithm 1.

    The first view is weak (crop and flip) and goes to the teacher, a momentum average of backbone
    and projector; the others are strong and go to the student. Both are compared with a queue of
    the teacher's earlier projections: the teacher's softmax over them is the target of the
    student's, in cross-entropy. No image is told apart from another; their relation is kept. After
    the loss the teacher's projections enter the queue. Evaluated is the online backbone.

    In a YAML: ``method: {name: ressl, momentum: 0.99}`` with views from ``{name: ressl}``.

    Args:
        backbone: Maps images to ``[B, D]``.
        optim: The optimisation recipe.
        hidden_dim: Width of the projector's hidden layer.
        out_dim: Width of the projection.
        bn: Batch norm in the projector's hidden layer; the authors have none.
        queue_size: Projections kept; the paper has 4096 for small data sets.
        student_temperature: Of the student's softmax.
        teacher_temperature: Of the teacher's softmax, below the student's.
        momentum: m, a number or a schedule; the paper has 0.99 for small data sets.

    Note:
        With several strong views the loss is their mean. The authors shuffle the teacher's batch
        over devices; here ``trainer.sync_batchnorm`` lets its batch norms see the whole batch.
    """

    accumulation: ClassVar[Literal["exact", "approximate"]] = "approximate"
    default_views: ClassVar[str] = "ressl"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        hidden_dim: int = 4096,
        out_dim: int = 512,
        bn: bool = False,
        queue_size: int = 131072,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        momentum: float | Schedule = 0.999,
    ) -> None:
        super().__init__(backbone, optim)
        if not 0 < teacher_temperature < student_temperature:
            raise ValueError(
                "ressl: needs 0 < teacher_temperature < student_temperature, got "
                f"{teacher_temperature} and {student_temperature}; the teacher must be the sharper."
            )
        self.temperatures = student_temperature, teacher_temperature
        self.projector = mlp(cast(int, self.backbone.embed_dim), hidden_dim, out_dim, bn=bn)
        self.teacher = EMA(nn.Sequential(self.backbone, self.projector), momentum)
        self.queue = Queue(queue_size, out_dim)

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the relational loss of the strong views, taught by the weak one."""
        weak, *strong = batch["views"]
        if not strong:
            raise RefusedRunError(
                "ressl: needs a weak view and one or more strong ones, but the batch has one view. "
                "Use data.views: {name: ressl}."
            )
        embedding = forward_crops(self.backbone, strong)  # [SB, D]
        student = self.projector(embedding)  # [SB, P]
        teacher = self.teacher(weak)  # [B, P]
        target = teacher.repeat(len(strong), 1)  # [SB, P]
        bank = self.queue.rows.clone()  # the backward reads it when the queue has moved on
        loss = relational_loss(student, target, bank, *self.temperatures)
        if self.training and torch.is_grad_enabled():
            self.queue.push(F.normalize(widened(teacher), dim=1))
        return StepOutput(loss, embedding=embedding)
