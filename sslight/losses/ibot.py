"""The masked-patch loss of iBOT: a student guesses what its teacher sees behind the mask."""

from __future__ import annotations

import torch
from torch import Tensor

from sslight.losses.precision import full_precision


@full_precision
def masked_patch_loss(
    students: Tensor, targets: Tensor, in_image: Tensor, images: int, temperature: float = 0.1
) -> Tensor:
    """Compute iBOT's patch loss (Zhou et al., 2022, arXiv:2111.07832, eq. 2), its authors' scale.

    The cross-entropy ``-sum over k of target * log softmax(student / T)`` of each masked patch with
    the same patch of the same crop, averaged over an image's masked patches, then over all images,
    those without masked patches included.

    Args:
        students: Logits ``[N, K]`` of the masked patches.
        targets: Probabilities ``[N, K]``; no gradient flows into them.
        in_image: ``[N]``, how many masked patches the image of each has; a row with 0 is left out.
        images: Number of images, counting each crop.
        temperature: The student's T.
    """
    if (
        students.shape != targets.shape
        or in_image.shape != students.shape[:1]
        or students.ndim != 2
    ):
        raise ValueError(
            "ibot: students and targets must be [N, K] and in_image [N], got "
            f"{tuple(students.shape)}, {tuple(targets.shape)} and {tuple(in_image.shape)}."
        )
    if not temperature > 0:
        raise ValueError(f"ibot: temperature must be above 0, got {temperature}.")
    log_p = (students / temperature).log_softmax(1)
    patches = -(targets.detach() * log_p).sum(1) / in_image.clamp(min=1)
    return torch.where(in_image > 0, patches, 0.0).sum() / images
