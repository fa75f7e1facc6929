"""Distillation: a student learns from a frozen teacher."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from sslight.backbones.protocol import as_backbone
from sslight.checkpoints.teacher import check_classes, check_scale, load_teacher
from sslight.class_metrics import class_metrics
from sslight.module import SSLModule
from sslight.modules.distillation import Kind, Lesson
from sslight.modules.frozen import Frozen
from sslight.modules.multicrop import forward_crops
from sslight.optim import Recipe
from sslight.types import Batch, StepOutput


class Distill(SSLModule):
    """Distillation from a frozen teacher (Hinton et al., 2015, arXiv:1503.02531, and later ones).

    Student and teacher see the same views, except that for ``prototypes`` local ones are the
    student's alone. A head on the student's embedding learns, by ``kind``:

    - ``features``: the teacher's embedding, ``2 - 2 cos`` (SimReg, arXiv:2201.05131);
    - ``similarities``: its similarities to a queue of its own embeddings (SEED, arXiv:2101.04731);
    - ``prototypes``: its assignments of images to its prototypes, by Sinkhorn or softmax (VISSL's
      distillation of SwAV and DINO), local views those of all global ones; the teacher is a method
      with prototypes;
    - ``soft``: its class probabilities and the labels, ``alpha T^2 KL + (1 - alpha) CE`` (Hinton et
      al.); the teacher is a classifier.

    Evaluated is the student's backbone; ``soft`` also reports its accuracy.

    In a YAML: ``method: {name: distill, teacher: runs/big}``; from a DINO run ``method: {name:
    distill, kind: prototypes, teacher: runs/dino, sinkhorn_iterations: 0, teacher_temperature:
    0.07}``.

    Args:
        backbone: The student; maps images to ``[B, D]``.
        optim: The optimisation recipe.
        teacher: A run's folder, ``.safetensors`` or ``.ckpt`` file; for ``soft`` the folder or
            ``.ckpt`` of a ``supervised`` run, for ``prototypes`` the folder of a ``swav``,
            ``deepcluster_v2``, ``dino``, ``ibot``, ``dinov2`` or ``msn`` run. In Python also a
            module, which is frozen (for those two one that gives logits or scores). None: the
            student as it starts.
        kind: What is learnt.
        hidden_dim: Width of the head's hidden layers (not ``soft``).
        layers: Linear layers of the head (not ``soft``, whose head is linear).
        out_dim: Width of the student's projection in ``prototypes``, which is compared with
            prototypes of its own, as many as the teacher's.
        temperature: T of ``soft``.
        alpha: Share of the teacher's part in ``soft``; with 1, labels are not needed.
        queue_size: Embeddings in the queue of ``similarities``.
        sinkhorn_iterations: Rounds of Sinkhorn in ``prototypes``; 0 for a softmax.
        student_temperature: None for 0.2 in ``similarities`` and 0.1 in ``prototypes``.
        teacher_temperature: None for 0.01 in ``similarities`` and 0.03 in ``prototypes``, where it
            is Sinkhorn's epsilon too; VISSL's softmax of DINO's scores has 0.07.

    Note:
        The teacher's weights are in every checkpoint: a run that goes on uses those, not the
        file's. The file must still be there, since it says which network the teacher is.

        SEED compares the outputs of projectors, here the teacher gives its embedding; a queue of
        65536 times 2048 takes 512 MiB. SEED's code has a teacher temperature of 0.0001.

        For ``prototypes`` VISSL can also compare the student with the teacher's own prototypes,
        assign one global crop only, swap crops and keep a queue. Sinkhorn sees all global views of
        a batch together.

        Micro-batches of an accumulated step weigh the same, however many of the labels that
        ``soft`` reads are known.
    """

    default_views: ClassVar[str] = "supervised"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        teacher: str | nn.Module | None = None,
        kind: Kind = "features",
        hidden_dim: int = 2048,
        layers: int = 2,
        out_dim: int = 256,
        temperature: float = 10.0,
        alpha: float = 0.1,
        queue_size: int = 65536,
        sinkhorn_iterations: int = 3,
        student_temperature: float | None = None,
        teacher_temperature: float | None = None,
    ) -> None:
        super().__init__(backbone, optim)
        self.kind = kind
        self.lesson = Lesson(
            kind=kind,
            hidden_dim=hidden_dim,
            layers=layers,
            out_dim=out_dim,
            temperature=temperature,
            alpha=alpha,
            queue_size=queue_size,
            sinkhorn_iterations=sinkhorn_iterations,
            student_temperature=student_temperature,
            teacher_temperature=teacher_temperature,
        )
        self.lesson.check_teacher(given=teacher is not None)
        if self.lesson.compares_images:
            self.accumulation = "approximate"  # type: ignore[misc]
        self._path = teacher if isinstance(teacher, str) else None
        self._view: Any = None
        self.teacher: Any = None  # a Frozen, from on_data on
        self.objective: Any = None  # takes (embedding, target, label), has a head
        if isinstance(teacher, nn.Module):
            self._adopt(as_backbone(teacher))
        elif teacher is None:
            self._build_objective(cast(int, self.backbone.embed_dim))

    def _build_objective(self, width: int) -> None:
        self.objective = self.lesson.objective(cast(int, self.backbone.embed_dim), width)
        if self.predicts:
            self.metrics.update(class_metrics(width, top=(1,)))

    def _adopt(self, teacher: nn.Module) -> None:
        self.teacher = Frozen(teacher)
        if self.objective is None:
            self._build_objective(cast(int, teacher.embed_dim))

    def on_data(self, num_images: int | None, num_classes: int | None) -> None:
        """Load the teacher, or copy the student as it now is, once; refuse data unfit for it."""
        if self.teacher is None and self._path is not None:
            loaded = load_teacher(self._path, self.lesson.gives)
            self._view = loaded.view
            self._adopt(loaded.backbone)
        elif self.teacher is None:
            self._adopt(copy.deepcopy(self.backbone))
        if self.lesson.reads_labels:
            check_classes(self.teacher.network.embed_dim, num_classes)
        for spec in getattr(getattr(self._datamodule, "maker", None), "specs", ()):
            check_scale(self._view, spec)

    @property
    def predicts(self) -> bool:
        """Whether the student is a classifier."""
        return self.kind == "soft"

    def predict(self, images: Tensor) -> Tensor:
        """Compute the student's logits ``[B, K]`` (kind ``soft`` only)."""
        logits: Tensor = self.objective.head(self.backbone(images))
        return logits

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the loss of the kind, over all views of the batch."""
        views, label = batch["views"], batch.get("label")
        embedding = forward_crops(self.backbone, views)  # [VB, D]
        labels = None if label is None else torch.cat([label] * len(views))
        if self.kind == "prototypes":
            seen = views[: batch.get("n_global", len(views))]
            target = forward_crops(self.teacher, seen)  # [GB, P]
            loss = self.objective(embedding, target, labels, crops=len(seen))
        else:
            loss = self.objective(embedding, forward_crops(self.teacher, views), labels)
        return StepOutput(loss, embedding=embedding)
