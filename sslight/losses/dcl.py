"""Decoupled contrastive loss: NT-Xent without the positive in its denominator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sslight.distributed import gather_with_grad
from sslight.losses.nt_xent import mean_over_pairs, pair_logits
from sslight.losses.precision import full_precision


@full_precision
def dcl(
    views: Sequence[Tensor],
    temperature: float = 0.1,
    *,
    sigma: float | None = None,
    gather: bool = False,
) -> Tensor:
    """Compute DCL or DCLW (Yeh et al., 2021, arXiv:2110.06848, L_DC and L_DCW).

    Each embedding is an anchor; its negatives are all views of all other images::

        l = -w cos(anchor, positive) / T + log sum over negatives of exp(cos / T)

    ``w`` is 1 in DCL. In DCLW it is the negative von Mises-Fisher weight of the pair, whose mean
    over the batch is 1: ``w_i = 2 - exp(cos_i / sigma) / mean over images of exp(cos / sigma)``.
    The loss is the mean over anchors; for two views that is the mean of both directions. With
    more views every ordered pair of an image's crops gives a term. Embeddings are normalised
    inside.

    Args:
        views: V projections, ``[B, P]`` each.
        temperature: T.
        sigma: Concentration of the weights; None for DCL.
        gather: Take negatives, and the mean in the weights, from all ranks, with gradient: the
            mean over ranks, and gradients averaged over ranks, equal those of one process with
            the whole batch.

    Raises:
        ValueError: For shapes that do not agree, fewer than two images, or a ``temperature`` or
            ``sigma`` that is not above 0.

    Note:
        The weight carries a gradient: the paper writes it as a function of the embeddings inside
        the loss and stops no gradient there. (lightly detaches it; its values agree.)
    """
    if sigma is not None and not sigma > 0:
        raise ValueError(f"dcl: sigma must be above 0, or None for no weights, got {sigma}.")
    positives, negatives = pair_logits(views, temperature, gather=gather)  # [V, B, V], [V, B, 1]
    if sigma is None:
        return mean_over_pairs(negatives - positives)
    weights = von_mises_fisher_weights(positives * temperature, sigma, gather=gather)
    return mean_over_pairs(negatives - weights * positives)


def von_mises_fisher_weights(cosines: Tensor, sigma: float, *, gather: bool = False) -> Tensor:
    """Compute ``2 - exp(cos / sigma) / mean over images of exp(cos / sigma)``, pair by pair.

    Args:
        cosines: ``[V, B, V]``, with the images in the middle.
        sigma: The smaller, the more the hardest pairs weigh.
        gather: Take the mean over the images of all ranks, with gradient.
    """
    scaled = (cosines / sigma).transpose(0, 1)  # [B, V, V]
    everyone = gather_with_grad(scaled) if gather else scaled  # [WB, V, V]
    share = torch.exp(scaled - everyone.logsumexp(0))  # a softmax over all images
    return (2 - len(everyone) * share).transpose(0, 1)
