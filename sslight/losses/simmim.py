"""The reconstruction loss of SimMIM."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from sslight.distributed import sum_over_ranks, world_size
from sslight.losses.patches import check_prediction, patchify
from sslight.losses.precision import full_precision


@full_precision
def simmim_loss(
    prediction: Tensor,
    images: Tensor,
    mask: Tensor,
    patch_size: int,
    *,
    window: int | None = None,
    per_rank: bool = False,
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
        window: Predict pixels normalised by :func:`locally_normalised` with this window; None for
            the images' own.
        per_rank: Count this rank's pixels. By default those of all ranks are counted, so that the
            mean over ranks of the loss is that of the whole batch.

    Raises:
        ValueError: For shapes that do not agree.
    """
    aim = images if window is None else locally_normalised(images, window)
    target = patchify(aim, patch_size)
    check_prediction("simmim_loss", prediction, target, mask)
    errors = (prediction - target).abs().sum(-1)  # [B, P]
    weight = mask.to(errors.dtype)
    pixels = weight.sum() * patch_size**2
    ranks = 1 if per_rank else world_size()
    count = (pixels if per_rank else sum_over_ranks(pixels)) + 1e-5
    return (errors * weight).sum() * ranks / count / images.shape[1]


def locally_normalised(images: Tensor, window: int) -> Tensor:
    """Give each pixel's distance from the mean around it, in deviations around it.

    ``(x - mean) / sqrt(var + 1e-6)`` per channel, with mean and *unbiased* variance over the
    square around the pixel, as far as it lies in the image: the targets of SimMIM's later
    trainings (Liu et al., 2022, Swin v2, arXiv:2111.09883, in the authors' code).

    Args:
        images: ``[B, C, H, W]``.
        window: Side of the square in pixels, odd.
    """

    def around(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, window, 1, window // 2, count_include_pad=False)

    inside = F.avg_pool2d(images.new_ones(images.shape[-2:])[None], window, 1, window // 2)
    count = inside * window**2  # [1, H, W]
    centred = images - images.mean((-2, -1), keepdim=True)  # squares of small numbers cancel less
    mean = around(centred)
    variance = (around(centred.square()) - mean.square()) * count / (count - 1)
    return (centred - mean) / (variance.clamp(min=0) + 1e-6).sqrt()
