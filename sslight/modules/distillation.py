"""What a student learns from a teacher's outputs: heads on its embedding, with their losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sslight.losses.byol import regression
from sslight.losses.classification import cross_entropy
from sslight.losses.distillation import (
    prototype_distillation,
    similarity_distillation,
    soft_targets,
)
from sslight.modules.queue import Queue


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
