"""The swapped prediction loss of SwAV, for two views or many crops."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sslight.losses.precision import full_precision


@full_precision
def swapped_prediction(
    scores: Sequence[Tensor], codes: Sequence[Tensor], temperature: float = 0.1
) -> Tensor:
    """Predict each crop's code from the scores of the other crops of the image.

    The cross-entropy of a code with ``softmax(scores / T)`` (Caron et al., 2020, arXiv:2006.09882,
    eq. 2), averaged over images, over the crops other than the code's own, and over codes (eq. 6,
    which sums: its scale is that of the authors' code).

    Args:
        scores: One ``[B, K]`` per crop, global crops first.
        codes: One ``[B, K]`` for each of the first crops; no gradient flows into them.
        temperature: T.
    """
    _check(scores, codes, temperature)
    predictions = F.log_softmax(torch.stack(list(scores)) / temperature, dim=2)  # [V, B, K]
    targets = torch.stack(list(codes)).detach().to(predictions.dtype)  # [C, B, K]
    others = predictions.sum(dim=0) - predictions[: len(codes)]  # [C, B, K]
    return -(targets * others).sum(dim=2).mean() / (len(scores) - 1)


def _check(scores: Sequence[Tensor], codes: Sequence[Tensor], temperature: float) -> None:
    if not 1 <= len(codes) <= len(scores) or len(scores) < 2:
        raise ValueError(
            "swav: needs scores of two or more crops and codes of the first of them, "
            f"got {len(scores)} scores and {len(codes)} codes."
        )
    shapes = {tuple(x.shape) for x in [*scores, *codes]}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise ValueError(
            f"swav: scores and codes must have one shape [B, K], got {sorted(shapes)}."
        )
    if not temperature > 0:
        raise ValueError(f"swav: temperature must be above 0, got {temperature}.")
