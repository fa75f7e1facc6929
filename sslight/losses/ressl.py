"""ReSSL's loss: two views of an image relate alike to other images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from sslight.losses.precision import full_precision


@full_precision
def relational_loss(
    student: Tensor,
    teacher: Tensor,
    bank: Tensor,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
) -> Tensor:
    """Compute ReSSL's loss (Zheng et al., 2021, arXiv:2107.09282, eq. 4 to 6).

    The relation of a view to the bank is a softmax over its cosines with the bank's rows. The
    teacher's, sharper, is the target of the student's: their cross-entropy, averaged over the
    batch. Student and teacher are normalised inside; the teacher gets no gradient.

    Args:
        student: ``[B, P]``.
        teacher: ``[B, P]``; row i is another view of the student's row i.
        bank: ``[K, P]`` normalised projections of other images.
        student_temperature: Of the student's relation.
        teacher_temperature: Of the teacher's relation; below the student's, or nothing is learnt.
    """
    if student.ndim != 2 or student.shape != teacher.shape or bank.shape[1:] != student.shape[1:]:
        raise ValueError(
            "relational_loss: needs student and teacher [B, P] and a bank [K, P], got "
            f"{tuple(student.shape)}, {tuple(teacher.shape)} and {tuple(bank.shape)}."
        )
    for name, value in (("student", student_temperature), ("teacher", teacher_temperature)):
        if not value > 0:
            raise ValueError(f"relational_loss: {name}_temperature must be above 0, got {value}.")
    target = F.normalize(teacher.detach(), dim=1) @ bank.T / teacher_temperature  # [B, K]
    logits = F.normalize(student, dim=1) @ bank.T / student_temperature
    return F.cross_entropy(logits, target.softmax(1))
