"""The self-distillation loss of DINO: cross-entropy between teacher and student, over crops."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sslight.losses.precision import full_precision


@full_precision
def centered_softmax(logits: Tensor, center: Tensor, temperature: float) -> Tensor:
    """Compute a teacher's probabilities ``softmax((logits - center) / T)``, without gradient.

    Args:
        logits: ``[..., K]``.
        center: ``[K]``.
        temperature: T; a small one sharpens.
    """
    if logits.shape[-1:] != center.shape:
        raise ValueError(
            f"dino: logits [..., K] and center [K] differ in K: {tuple(logits.shape)} and "
            f"{tuple(center.shape)}."
        )
    _check_temperature(temperature)
    return ((logits.detach() - center) / temperature).softmax(-1)


@full_precision
def dino_loss(
    students: Sequence[Tensor], targets: Sequence[Tensor], temperature: float = 0.1
) -> Tensor:
    """Compute DINO's loss (Caron et al., 2021, arXiv:2104.14294, eq. 3) in its authors' scale.

    The cross-entropy ``-sum over k of target * log softmax(student / T)``, averaged over the batch,
    and over all pairs of a target and a student of *different* crops.

    Args:
        students: Logits ``[B, K]`` of each crop, global crops first.
        targets: Probabilities ``[B, K]`` of each global crop, in the same order; no gradient flows
            into them.
        temperature: The student's T.
    """
    shapes = [tuple(x.shape) for x in (*students, *targets)]
    if not 1 <= len(targets) <= len(students) or len(students) < 2:
        raise ValueError(
            "dino: needs two or more students and targets for the first of them, "
            f"got {len(students)} students and {len(targets)} targets."
        )
    if any(len(shape) != 2 or shape != shapes[0] for shape in shapes):
        raise ValueError(f"dino: students and targets must have one shape [B, K], got {shapes}.")
    _check_temperature(temperature)
    pairs = []
    for s, student in enumerate(students):
        log_p = (student / temperature).log_softmax(1)
        pairs += [
            -(target.detach() * log_p).sum(1).mean() for t, target in enumerate(targets) if t != s
        ]
    return torch.stack(pairs).mean()


@full_precision
def mean_entropy(probabilities: Tensor) -> Tensor:
    """Compute the entropy of distributions ``[..., K]`` in nats, averaged; log K if they are flat.

    At 0 every target is one prototype, at log K none says anything: two signs of collapse.
    """
    entropy: Tensor = torch.special.entr(probabilities).sum(-1).mean()
    return entropy


def _check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise ValueError(f"dino: temperature must be above 0, got {temperature}.")
