"""What a student learns from a frozen teacher: its classes, its similarities, its prototypes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sslight.losses.precision import full_precision
from sslight.losses.sinkhorn import sinkhorn


@full_precision
def soft_targets(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Compute ``T^2 KL(softmax(teacher / T) || softmax(student / T))``, the mean over the batch.

    The square keeps the gradient's size as T grows (Hinton et al., 2015, arXiv:1503.02531,
    section 2).

    Args:
        student: Logits ``[B, K]``.
        teacher: Logits ``[B, K]``; they get no gradient.
        temperature: T.
    """
    _check_pair("soft_targets", student, teacher)
    target = (teacher.detach() / temperature).log_softmax(1)
    own = (student / temperature).log_softmax(1)
    return temperature**2 * F.kl_div(own, target, reduction="batchmean", log_target=True)


@full_precision
def similarity_distillation(
    student: Tensor,
    teacher: Tensor,
    anchors: Tensor,
    *,
    student_temperature: float = 0.2,
    teacher_temperature: float = 0.01,
) -> Tensor:
    """Compute SEED's loss (Fang et al., 2021, arXiv:2101.04731, eq. 1 to 5).

    Both networks compare an image with the teacher's embeddings of other images and with the
    teacher's own of this image; the student's distribution over them is to be the teacher's:
    the mean over the batch of the cross-entropy of the two softmaxes. Everything is normalised
    inside; only the student gets a gradient.

    Args:
        student: ``[B, P]``.
        teacher: ``[B, P]``, of the same images.
        anchors: The teacher's embeddings of other images, ``[K, P]``.
        student_temperature: Of the student's softmax.
        teacher_temperature: Of the teacher's.
    """
    _check_pair("similarity_distillation", student, teacher)
    if anchors.ndim != 2 or anchors.shape[1] != student.shape[1]:
        raise ValueError(
            f"similarity_distillation: anchors must be [K, P] with P = {student.shape[1]}, got "
            f"{tuple(anchors.shape)}."
        )
    student = F.normalize(student, dim=1)
    target, anchors = (F.normalize(x.detach(), dim=1) for x in (teacher, anchors))
    logits = [torch.cat([_own(x, target), x @ anchors.T], dim=1) for x in (student, target)]
    shares = (logits[1] / teacher_temperature).softmax(1)  # [B, 1 + K]
    return -(shares * (logits[0] / student_temperature).log_softmax(1)).sum(1).mean()


@full_precision
def prototype_distillation(
    student: Tensor,
    teacher: Tensor,
    *,
    crops: int = 1,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.03,
    iterations: int = 3,
) -> Tensor:
    """Compute the cross-entropy of a student's scores with a frozen teacher's assignments.

    The losses of VISSL that distil SwAV and DINO: the teacher's scores become shares of prototypes,
    by Sinkhorn over all ranks (every prototype gets its part of the batch) or row by row by a
    softmax. A crop that the teacher saw is to have its own shares, a further (local) crop those of
    each crop that the teacher saw of its image; the mean over all such pairs.

    Args:
        student: Scores ``[VB, K]`` of V crops, crop-major, those that the teacher saw first.
        teacher: Scores ``[GB, K]`` of the first G of them; they get no gradient.
        crops: G.
        student_temperature: Of the student's softmax.
        teacher_temperature: Sinkhorn's epsilon, or of the softmax.
        iterations: Rounds of Sinkhorn; 0 for the softmax.
    """
    seen, images = len(teacher), max(len(teacher) // max(crops, 1), 1)
    _check_pair("prototype_distillation", student[:seen], teacher)
    if crops < 1 or seen % crops or len(student) % images:
        raise ValueError(
            f"prototype_distillation: {len(student)} scores of the student and {seen} of the "
            f"teacher are no whole crops of the same images, with crops={crops}."
        )
    if iterations:
        shares = sinkhorn(teacher, teacher_temperature, iterations)
    else:
        shares = (teacher.detach() / teacher_temperature).softmax(1)
    logs = (student / student_temperature).log_softmax(1)
    own = -(shares * logs[:seen]).sum(1)  # [GB]
    if len(student) == seen:
        return own.mean()
    mean = shares.view(crops, images, -1).mean(0)  # of the G pairs that a local crop is in
    local = -(mean * logs[seen:].view(-1, *mean.shape)).sum(2)  # [V - G, B]
    return (own.mean() + len(local) * local.mean()) / (1 + len(local))


def _own(x: Tensor, target: Tensor) -> Tensor:
    """Similarity ``[B, 1]`` to the teacher's embedding of the same image."""
    return (x * target).sum(1, keepdim=True)


def _check_pair(where: str, student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape or student.ndim != 2:
        raise ValueError(
            f"{where}: student and teacher must have one shape [B, P], got "
            f"{tuple(student.shape)} and {tuple(teacher.shape)}."
        )
