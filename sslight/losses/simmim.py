"""The reconstruction loss of SimMIM."""

from __future__ import annotations

from torch import Tensor

from sslight.distributed import sum_over_ranks, world_size
from sslight.losses.patches import check_prediction, patchify
from sslight.losses.precision import full_precision


@full_precision
def simmim_loss(
    prediction: Tensor, images: Tensor, mask: Tensor, patch_size: int, *, per_rank: bool = False
) -> Tensor:
    """Compute SimMIM's loss (Xie et al., 2022, arXiv:2111.09886): absolute errors where masked.

    The sum over masked pixels and channels, divided by ``(masked pixels of the batch + 1e-5)`` and
    by the number of channels.

    Args:
        prediction: ``[B, P, patch_size ** 2 * C]``, values in the order of
            :func:`sslight.losses.patches.patchify`.
        images: ``[B, C, H, W]``.
        mask: ``[B, P]``, true where a patch was masked.
        patch_size: Side of a patch in pixels.
        per_rank: Count this rank's pixels. By default those of all ranks are counted, so that the
            mean over ranks of the loss is that of the whole batch.

    Raises:
        ValueError: For shapes that do not agree.
    """
    target = patchify(images, patch_size)
    check_prediction("simmim_loss", prediction, target, mask)
    errors = (prediction - target).abs().sum(-1)  # [B, P]
    weight = mask.to(errors.dtype)
    pixels = weight.sum() * patch_size**2
    ranks = 1 if per_rank else world_size()
    count = (pixels if per_rank else sum_over_ranks(pixels)) + 1e-5
    return (errors * weight).sum() * ranks / count / images.shape[1]
