"""Gram anchoring: the similarities among an image's patches stay as an earlier teacher saw them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from sslight.losses.precision import full_precision


@full_precision
def gram_loss(students: Tensor, anchors: Tensor) -> Tensor:
    """Compute the Gram loss (Siméoni et al., 2025, DINOv3, arXiv:2508.10104, section 4.2).

    Patch features of an image are normalised; the loss is the squared difference of their matrices
    of cosines, student and anchor, averaged over entries and images. Features may thus move as long
    as their similarities stay.

    Args:
        students: Patch features ``[B, P, D]``.
        anchors: The Gram teacher's, ``[B, P, D']``; no gradient flows into them.
    """
    if students.ndim != 3 or anchors.ndim != 3 or students.shape[:2] != anchors.shape[:2]:
        raise ValueError(
            "gram: students and anchors must be [B, P, D] with the same images and patches, got "
            f"{tuple(students.shape)} and {tuple(anchors.shape)}."
        )
    return F.mse_loss(_cosines(students), _cosines(anchors.detach()))


def _cosines(features: Tensor) -> Tensor:
    features = F.normalize(features, dim=-1)
    return features @ features.transpose(1, 2)
