"""MoCo v2: a query finds its key, from a momentum encoder, among a queue of older keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslight.losses.moco_v2 import moco_v2_loss
from sslight.losses.precision import widened
from sslight.module import SSLModule
from sslight.modules.ema import EMA
from sslight.modules.heads import mlp
from sslight.modules.queue import Queue
from sslight.modules.shuffle import sees_parts_of_the_batch, shuffled
from sslight.modules.split_batch_norm import split_batch_norms
from sslight.optim import Recipe
from sslight.schedules import Schedule
from sslight.types import Batch, StepOutput

#: Sets the draws of the permutation apart from others that all ranks share.
_SHUFFLE = 0x6D6F636F


class MoCoV2(SSLModule):
    """MoCo v2 (Chen et al., 2020, arXiv:2003.04297), eq. 1; MoCo (arXiv:1911.05722), algorithm 1.

    The query is the encoder's projection of an image's first view, the key the momentum encoder's
    of its second. The query must find its key among the keys of earlier batches, kept in a queue,
    which takes the new keys after the loss. After each optimizer step the momentum encoder follows
    the encoder's parameters. Evaluated is the encoder's backbone.

    In a YAML: ``method: {name: moco_v2, queue_size: 65536}`` with views from ``{name: moco}``.

    Args:
        backbone: Maps images to ``[B, D]``.
        optim: The optimisation recipe.
        hidden_dim: Width of the projector's hidden layer, which has no batch norm.
        out_dim: Width of query and key.
        queue_size: K, keys in the queue.
        momentum: Of the momentum encoder; its batch-norm statistics are its own.
        temperature: T.
        symmetric: Each view is a query once and a key once; the loss is the mean of both.
        shuffle: Shuffle keys over the global batch, where batch norms see parts of it.
        bn_splits: Parts of this device's batch in which batch norms see it, as the paper's devices
            did; 1 for the whole.

    Note:
        Batch norms of parts of a batch let a query recognise the companions of its key; shuffling
        prevents it. With ``trainer.sync_batchnorm`` (or no batch norm) there are no parts, and
        neither ``shuffle`` nor the number of ranks changes the result. The paper's eight devices
        are ``trainer.sync_batchnorm: false`` on eight, or ``bn_splits: 8`` on one. The symmetric
        loss is not in the paper; it takes the mean, as solo-learn and lightly do, where the
        authors' notebook takes the sum.
    """

    accumulation: ClassVar[Literal["exact", "approximate"]] = "approximate"
    default_views: ClassVar[str] = "moco"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        hidden_dim: int = 2048,
        out_dim: int = 128,
        queue_size: int = 65536,
        momentum: float | Schedule = 0.999,
        temperature: float = 0.2,
        symmetric: bool = False,
        shuffle: bool = True,
        bn_splits: int = 1,
    ) -> None:
        super().__init__(backbone, optim)
        if not temperature > 0:
            raise ValueError(f"moco_v2: temperature must be above 0, got {temperature}.")
        self.temperature, self.symmetric, self.shuffle = temperature, symmetric, shuffle
        split_batch_norms(self.backbone, bn_splits)
        self.projector = mlp(cast(int, self.backbone.embed_dim), hidden_dim, out_dim, bn=False)
        self.key_encoder = EMA(nn.Sequential(self.backbone, self.projector), momentum)
        self.queue = Queue(queue_size, out_dim)

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute InfoNCE of queries against their keys and the queue, then enqueue the keys."""
        first, second = self._pair(batch["views"])
        queried, keyed = [first], [second]
        if self.symmetric:
            queried, keyed = [first, second], [second, first]
        embeddings = [self.backbone(view) for view in queried]  # [B, D] each
        keys = self._keys(keyed)  # [B, P] each
        older = self.queue.rows.clone()  # the backward reads them, after they are overwritten
        losses = [
            moco_v2_loss(self.projector(embedding), key, older, self.temperature)
            for embedding, key in zip(embeddings, keys, strict=True)
        ]
        if self.training and torch.is_grad_enabled():
            for key in keys:
                self.queue.push(key)
        return StepOutput(torch.stack(losses).mean(), embedding=torch.cat(embeddings))

    def _keys(self, views: Sequence[Tensor]) -> list[Tensor]:
        if self.shuffle and sees_parts_of_the_batch(self.key_encoder):
            generator = self.shared_generator(_SHUFFLE)
            keys = [shuffled(self.key_encoder, view, generator) for view in views]
        else:
            keys = [self.key_encoder(view) for view in views]
        return [F.normalize(widened(key), dim=1) for key in keys]

    def _pair(self, views: list[Tensor]) -> list[Tensor]:
        if len(views) == 2:
            return views
        raise ValueError(
            f"moco_v2: each image has {len(views)} views, but one is the query and one the key. "
            "Use views that make two, such as data.views: {name: moco}."
        )
