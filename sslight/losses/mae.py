"""The reconstruction loss of masked autoencoders."""

from __future__ import annotations

from torch import Tensor

from sslight.distributed import mean_over_ranks
from sslight.losses.patches import check_prediction, patchify
from sslight.losses.precision import full_precision


@full_precision
def mae_loss(
    prediction: Tensor,
    images: Tensor,
    mask: Tensor,
    patch_size: int,
    *,
    norm_pix: bool = True,
    per_rank: bool = False,
) -> Tensor:
    """Compute MAE's loss (He et al., 2022, arXiv:2111.06377): squared errors of hidden patches.

    The mean over a patch's values, then the mean over the masked patches of the whole batch. With
    ``norm_pix`` a patch's target is ``(x - mean) / sqrt(var + 1e-6)`` with its own mean and
    *unbiased* variance over all its values, as in the authors' code.

    Args:
        prediction: ``[B, P, patch_size ** 2 * C]``, values in the order of
            :func:`sslight.losses.patches.patchify`.
        images: ``[B, C, H, W]``.
        mask: ``[B, P]``, true where a patch was hidden.
        patch_size: Side of a patch in pixels.
        norm_pix: Normalise each target patch.
        per_rank: Divide by this rank's number of masked patches. By default it is the mean over
            ranks, so that the mean over ranks of the loss is that of the whole batch.

    Raises:
        ValueError: For shapes that do not agree.
    """
    target = patchify(images, patch_size)
    check_prediction("mae_loss", prediction, target, mask)
    if norm_pix:
        variance, mean = target.var(-1, keepdim=True), target.mean(-1, keepdim=True)
        target = (target - mean) / (variance + 1e-6).sqrt()
    errors = (prediction - target).square().mean(-1)  # [B, P]
    weight = mask.to(errors.dtype)
    count = weight.sum()
    return (errors * weight).sum() / (count if per_rank else mean_over_ranks(count))
