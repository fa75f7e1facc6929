"""SwAV: predict the cluster code of one view from another, with codes computed online."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from sslight.losses.sinkhorn import sinkhorn
from sslight.losses.swav import swapped_prediction
from sslight.module import SSLModule
from sslight.modules.code_queue import CodeQueue
from sslight.modules.ema import EMA
from sslight.modules.heads import mlp
from sslight.modules.multicrop import forward_crops
from sslight.modules.prototypes import FixedPrototypes, Prototypes
from sslight.optim import Recipe
from sslight.schedules import Schedule
from sslight.types import Batch, StepOutput


class SwAV(SSLModule):
    """SwAV (Caron et al., 2020, arXiv:2006.09882), eq. 2 to 6 and algorithm 1.

    Backbone and projector embed all crops, which are compared with the prototypes. Sinkhorn shares
    the global batch out to the prototypes evenly and so gives each image a code, once for each code
    crop; the other crops of the image predict it. Small batches are joined by a queue of earlier
    embeddings for the codes only, compared with today's prototypes. Evaluated is the backbone.

    In a YAML: ``method: {name: swav, queue_size: 3840, queue_start: 15}`` with views from
    ``{name: swav}``; ``optim: {groups: [{pattern: prototypes, freeze_steps: 313}]}`` holds the
    prototypes still for the first steps, as the paper does.

    Args:
        backbone: Maps images to ``[B, D]``.
        optim: The optimisation recipe.
        hidden_dim: Width of the projector's hidden layer.
        out_dim: Width of the embedding that is compared with prototypes.
        num_prototypes: Number of prototypes, or a list of them for several heads, whose losses are
            averaged.
        bn: Batch norm in the projector's hidden layer.
        temperature: T of the predictions.
        epsilon: Of Sinkhorn; smaller makes harder codes.
        sinkhorn_iterations: Rounds of it.
        code_crops: The first crops, for which codes are computed.
        queue_size: Embeddings kept of each code crop, over all ranks; 0 for no queue.
        queue_start: Epochs before the queue is filled; it is used once it is full.
        momentum_teacher: Compute codes with a momentum average of backbone and projector (VISSL's
            SwAV-momentum, 0.99); None for none.

    Note:
        Prototypes are normalised when built and after each step, which is the authors' "before each
        forward". With ``momentum_teacher`` its embeddings are compared with the same prototypes and
        it keeps its own batch-norm statistics; VISSL averages the prototypes too.
    """

    accumulation: ClassVar[Literal["exact", "approximate"]] = "approximate"
    default_views: ClassVar[str] = "swav"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        hidden_dim: int = 2048,
        out_dim: int = 128,
        num_prototypes: int | list[int] = 3000,
        bn: bool = True,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        sinkhorn_iterations: int = 3,
        code_crops: int = 2,
        queue_size: int = 0,
        queue_start: float = 0.0,
        momentum_teacher: float | Schedule | None = None,
    ) -> None:
        super().__init__(backbone, optim)
        if code_crops < 1 or queue_size < 0:
            raise ValueError(
                f"swav: code_crops is {code_crops} and queue_size {queue_size}; use 1 or more code "
                "crops, and a queue_size of 0 (no queue) or more."
            )
        self.temperature, self.epsilon, self.iterations = temperature, epsilon, sinkhorn_iterations
        self.code_crops, self.queue_start = code_crops, queue_start
        self.projector = mlp(cast(int, self.backbone.embed_dim), hidden_dim, out_dim, bn=bn)
        self.prototypes = Prototypes(out_dim, num_prototypes)
        self.queue = CodeQueue(queue_size, out_dim, code_crops) if queue_size else None
        self.teacher: EMA | None = None
        if momentum_teacher is not None:
            self.teacher = EMA(nn.Sequential(self.backbone, self.projector), momentum_teacher)

    @property
    def prototype_head(self) -> nn.Module:
        """Compares embeddings ``[B, D]`` with the first head's prototypes: cosines ``[B, K]``."""
        first = self.prototypes.weight[: self.prototypes.sizes[0]]
        return nn.Sequential(self.projector, FixedPrototypes(first))

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the swapped prediction loss over all crops of the batch."""
        views = batch["views"]
        embedding = forward_crops(self.backbone, views)  # [VB, D]
        projections = self.projector(embedding)  # [VB, P]
        sources = self._code_sources(batch, projections)  # C of [B, P]
        queue = self.queue
        if queue is not None and self.clock.epochs < self.queue_start:
            queue = None
        codes = [self._codes(rows, crop, queue) for crop, rows in enumerate(sources)]
        losses = [
            swapped_prediction(scores.chunk(len(views)), codes_of_head, self.temperature)
            for scores, *codes_of_head in zip(self.prototypes(projections), *codes, strict=True)
        ]
        if queue is not None and self.training and torch.is_grad_enabled():
            queue.push(sources)
        return StepOutput(torch.stack(losses).mean(), embedding=embedding)

    def _code_sources(self, batch: Batch, projections: Tensor) -> Sequence[Tensor]:
        """Give the projections ``[B, P]`` that codes are made from, one per code crop."""
        views = batch["views"]
        count = self.code_crops
        if count > batch.get("n_global", len(views)):
            raise ValueError(
                f"swav: code_crops is {count}, but the batch has {len(views)} views, of which "
                f"{batch.get('n_global', len(views))} are global. Codes are computed for global "
                "views: set method.code_crops to their number, or data.views to more of them."
            )
        if self.teacher is not None:
            return tuple(forward_crops(self.teacher, views[:count]).chunk(count))
        return projections.detach().chunk(len(views))[:count]

    @torch.no_grad()
    def _codes(self, rows: Tensor, crop: int, queue: CodeQueue | None) -> list[Tensor]:
        """Compute the codes ``[B, K]`` of a crop, one per head."""
        images = len(rows)
        rows, weights = queue.join(crop, rows) if queue is not None else (rows, None)
        return [
            sinkhorn(scores, self.epsilon, self.iterations, weights=weights)[:images]
            for scores in self.prototypes(rows)
        ]
