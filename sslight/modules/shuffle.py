"""Shuffled batch norm: an encoder sees the batch in another order than it is asked for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sslight.distributed import SyncBatchNorm, exchanged, world_size
from sslight.modules.split_batch_norm import SplitBatchNorm


@torch.no_grad()
def shuffled(
    encoder: Callable[[Tensor], Tensor], images: Tensor, generator: torch.Generator
) -> Tensor:
    """Encode ``[B, ...]`` among images drawn from all ranks' batches; rows come back in order.

    The global batch is permuted, each rank encodes its share, and the permutation is undone (MoCo,
    arXiv:1911.05722, section 3.3). Batch norms that see a part of the batch thus use other
    companions than the query's, which could tell the query which key is its own. No gradient.

    Args:
        encoder: Maps images to vectors, row by row except for its batch norms.
        images: This rank's images.
        generator: In the same state on every rank; it draws the permutation.
    """
    order = torch.randperm(len(images) * world_size(), generator=generator)
    return exchanged(encoder(exchanged(images, order)), order.argsort())


def sees_parts_of_the_batch(encoder: nn.Module) -> bool:
    """Say whether any batch norm in train mode normalises by less than the global batch."""
    return any(
        isinstance(norm, _BatchNorm) and norm.training and _is_partial(norm)
        for norm in encoder.modules()
    )


def _is_partial(norm: _BatchNorm) -> bool:
    if isinstance(norm, SyncBatchNorm):
        return norm.group_size is not None and norm.group_size < world_size()
    if isinstance(norm, nn.SyncBatchNorm):
        return norm.process_group is not None
    return isinstance(norm, SplitBatchNorm) or world_size() > 1
