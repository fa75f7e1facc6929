"""Which patch tokens are masked, found without asking the device."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class MaskedTokens(NamedTuple):
    """Places of masked patches in a batch, and how many share an image.

    Attributes:
        places: ``[N]`` int64, rows of the patch tokens when images and patches are one dimension.
        in_image: ``[N]`` int64, masked patches of the same image; 0 where a place only fills up the
            N and is not masked.
        images: B.
    """

    places: Tensor
    in_image: Tensor
    images: int

    def of(self, patches: Tensor) -> Tensor:
        """Take the masked ones of patch tokens ``[B, P, D]``: ``[N, D]``."""
        return patches.flatten(0, 1).index_select(0, self.places)


def masked_tokens(masks: Tensor, count: int | None = None) -> MaskedTokens:
    """Find the masked patches of ``masks`` ``[B, P]``, in order.

    Args:
        masks: True where masked.
        count: How many are; view makers count them in the worker (``n_masked``), so that none
            need wait for the device. None takes every place there is: the same losses, at the
            cost of all patches.
    """
    if masks.ndim != 2 or masks.dtype != torch.bool:
        raise ValueError(f"masks must be bool [B, P], got {masks.dtype} {tuple(masks.shape)}.")
    in_image = (masks.sum(1, keepdim=True) * masks).flatten()
    places = (~masks).flatten().to(torch.uint8).argsort(stable=True)[:count]
    return MaskedTokens(places, in_image.index_select(0, places), len(masks))
