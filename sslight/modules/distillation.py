"""What a student learns from a teacher's outputs: heads on its embedding, with their losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from sslight.losses.byol import regression
from sslight.losses.classification import cross_entropy
from sslight.losses.distillation import (
    prototype_distillation,
    similarity_distillation,
    soft_targets,
)
from sslight.modules.cosine_logits import CosineLogits
from sslight.modules.heads import mlp
from sslight.modules.queue import Queue

Kind = Literal["features", "similarities", "prototypes", "soft"]
#: What a teacher gives.
Gives = Literal["embeddings", "classes", "prototypes"]

#: Temperatures of student and teacher where none are given: SEED's, and VISSL's for SwAV.
_TEMPERATURES: dict[Kind, tuple[float, float]] = {
    "similarities": (0.2, 0.01),
    "prototypes": (0.1, 0.03),
}
#: What the teacher of a kind gives, if not embeddings.
_GIVES: dict[Kind, Gives] = {"prototypes": "prototypes", "soft": "classes"}


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What is to be learnt, said before it is known how wide the teacher's outputs are.

    Args:
        kind: Which of the objectives below.
        hidden_dim: Width of the head's hidden layers; the head of ``soft`` is linear.
        layers: Linear layers of the head.
        out_dim: Width of the projection of ``prototypes``.
        temperature: T of ``soft``.
        alpha: Share of the teacher's part in ``soft``.
        queue_size: Embeddings in the queue of ``similarities``.
        sinkhorn_iterations: Rounds of Sinkhorn in ``prototypes``; 0 for a softmax.
        student_temperature: Of ``similarities`` and ``prototypes``; None for the kind's own.
        teacher_temperature: Likewise.
    """

    kind: Kind
    hidden_dim: int
    layers: int
    out_dim: int
    temperature: float
    alpha: float
    queue_size: int
    sinkhorn_iterations: int
    student_temperature: float | None
    teacher_temperature: float | None

    def __post_init__(self) -> None:
        """Refuse what cannot be learnt."""
        if self.kind not in get_args(Kind):
            raise ValueError(f"distill: kind is {self.kind!r}; use one of {get_args(Kind)}.")
        lowest = min(self.temperature, *self.temperatures)
        if not 0 <= self.alpha <= 1 or lowest <= 0 or self.sinkhorn_iterations < 0:
            raise ValueError(
                f"distill: alpha is {self.alpha}, use 0 to 1; temperatures are above 0, "
                "sinkhorn_iterations 0 or more."
            )

    @property
    def temperatures(self) -> tuple[float, float]:
        """Of student and teacher."""
        student, teacher = _TEMPERATURES.get(self.kind, (1.0, 1.0))
        return (
            student if self.student_temperature is None else self.student_temperature,
            teacher if self.teacher_temperature is None else self.teacher_temperature,
        )

    @property
    def gives(self) -> Gives:
        """What the teacher gives."""
        return _GIVES.get(self.kind, "embeddings")

    @property
    def compares_images(self) -> bool:
        """Whether the loss of an image depends on other images."""
        shared = self.kind == "prototypes" and self.sinkhorn_iterations > 0
        return self.kind == "similarities" or shared

    @property
    def reads_labels(self) -> bool:
        """Whether the labels are learnt too."""
        return self.kind == "soft" and self.alpha < 1

    def check_teacher(self, given: bool) -> None:
        """Raise if no teacher was given, and the student as it starts cannot be it."""
        if not given and self.gives != "embeddings":
            raise ValueError(
                f"distill: kind {self.kind} learns from a teacher's {self.gives}; give it as "
                "teacher."
            )

    def objective(self, embed_dim: int, width: int) -> nn.Module:
        """Build what computes the loss from (embedding, target, label), and has a ``head``.

        Args:
            embed_dim: Width of the student's embedding.
            width: Width of what the teacher gives.
        """
        if self.kind == "soft":
            return SoftTargets(embed_dim, width, self.temperature, self.alpha)
        if self.kind == "prototypes":
            projector = mlp(embed_dim, self.hidden_dim, self.out_dim, self.layers)
            scores = nn.Sequential(projector, CosineLogits(self.out_dim, width))
            return Assignments(scores, self.sinkhorn_iterations, *self.temperatures)
        head = mlp(embed_dim, self.hidden_dim, width, self.layers)
        if self.kind == "features":
            return Regression(head)
        return Similarities(head, width, self.queue_size, *self.temperatures)


class Regression(nn.Module):
    """Predict the teacher's embedding, ``2 - 2 cos``.

    Args:
        head: From the student's embedding ``[B, D]`` to the teacher's width ``[B, P]``.
    """

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, embedding: Tensor, target: Tensor, label: Tensor | None) -> Tensor:
        """Compute the loss; labels are not looked at."""
        return regression(self.head(embedding), target)


class Similarities(nn.Module):
    """Predict the teacher's similarities to its own embeddings of earlier images.

    Args:
        head: From the student's embedding ``[B, D]`` to the teacher's width ``[B, P]``.
        width: P.
        queue_size: Number of earlier images.
        student_temperature: Of the student's softmax.
        teacher_temperature: Of the teacher's.
    """

    def __init__(
        self,
        head: nn.Module,
        width: int,
        queue_size: int,
        student_temperature: float,
        teacher_temperature: float,
    ) -> None:
        super().__init__()
        self.head = head
        self.queue = Queue(queue_size, width)
        self.temperatures = {
            "student_temperature": student_temperature,
            "teacher_temperature": teacher_temperature,
        }

    def forward(self, embedding: Tensor, target: Tensor, label: Tensor | None) -> Tensor:
        """Compute the loss, then let the batch enter the queue; labels are not looked at."""
        anchors = self.queue.rows.clone()  # the backward needs them as they are now
        loss = similarity_distillation(self.head(embedding), target, anchors, **self.temperatures)
        if self.training and torch.is_grad_enabled():
            self.queue.push(nn.functional.normalize(target, dim=1))
        return loss


class Assignments(nn.Module):
    """Predict to which of its prototypes the teacher assigns an image.

    Args:
        head: From the student's embedding ``[B, D]`` to scores ``[B, K]``.
        iterations: Rounds of Sinkhorn on the teacher's scores; 0 for a softmax.
        student_temperature: Of the student's softmax.
        teacher_temperature: Of the teacher's; Sinkhorn's epsilon.
    """

    def __init__(
        self,
        head: nn.Module,
        iterations: int,
        student_temperature: float,
        teacher_temperature: float,
    ) -> None:
        super().__init__()
        self.head, self.iterations = head, iterations
        self.temperatures = {
            "student_temperature": student_temperature,
            "teacher_temperature": teacher_temperature,
        }

    def forward(
        self, embedding: Tensor, target: Tensor, label: Tensor | None, crops: int = 1
    ) -> Tensor:
        """Compute the loss; labels are not looked at.

        The teacher's ``target`` ``[GB, K]`` may be of the first ``crops`` = G crops only.
        """
        return prototype_distillation(
            self.head(embedding),
            target,
            crops=crops,
            iterations=self.iterations,
            **self.temperatures,
        )


class SoftTargets(nn.Module):
    """Predict the teacher's class probabilities, and the labels.

    Args:
        embed_dim: D of the student.
        num_classes: K of the teacher.
        temperature: T.
        alpha: Share of the teacher's part; the rest is cross-entropy with the known labels.
    """

    def __init__(self, embed_dim: int, num_classes: int, temperature: float, alpha: float) -> None:
        super().__init__()
        self.head = nn.Linear(embed_dim, num_classes)
        self.temperature, self.alpha = temperature, alpha

    def forward(self, embedding: Tensor, target: Tensor, label: Tensor | None) -> Tensor:
        """Compute the loss; ``label`` ``[B]``, -1 for unknown, is needed below alpha 1."""
        logits = self.head(embedding)
        taught = soft_targets(logits, target, self.temperature)
        if self.alpha == 1:
            return taught
        if label is None or label.ndim != 1:
            raise ValueError(
                "distill: kind soft with alpha below 1 needs one class per image as label; set "
                "alpha: 1 to learn from the teacher alone."
            )
        return self.alpha * taught + (1 - self.alpha) * cross_entropy(logits, label)
