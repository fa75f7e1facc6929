"""The classification loss of colorization: soft targets over few bins, one weight per pixel."""

from __future__ import annotations

from torch import Tensor

from sslight.losses.precision import full_precision


@full_precision
def colorization_loss(logits: Tensor, index: Tensor, share: Tensor, weight: Tensor) -> Tensor:
    """Compute the weighted cross-entropy of Zhang et al. (2016, arXiv:1603.08511), eq. 2.

    Args:
        logits: Scores of all bins, ``[N, Q]``, a row per pixel.
        index: Bins ``[N, k]`` that the target lies in.
        share: Probability ``[N, k]`` of each of them.
        weight: Weight ``[N]`` of each pixel, by the rarity of its colour.

    Returns:
        The mean over pixels (the paper's sum depends on the size of the images).
    """
    rows = len(logits)
    shapes = [tuple(x.shape) for x in (logits, index, share, weight)]
    fits = logits.ndim == index.ndim == 2 and index.shape == share.shape
    if not fits or len(index) != rows or weight.shape != (rows,):
        raise ValueError(
            "colorization: logits [N, Q], index [N, k], share [N, k] and weight [N] do not agree: "
            f"{', '.join(map(str, shapes))}."
        )
    chosen = logits.gather(1, index) - logits.logsumexp(1, keepdim=True)  # [N, k]
    return -(weight * (share * chosen).sum(1)).mean()
