"""NNCLR: a view's nearest neighbour in a queue of earlier images is the positive of the other."""

from __future__ import annotations

from typing import ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import nn

from sslight.errors import RefusedRunError
from sslight.losses.nnclr import nearest_neighbours, nnclr_loss
from sslight.losses.precision import widened
from sslight.module import SSLModule
from sslight.modules.heads import mlp
from sslight.modules.multicrop import forward_crops
from sslight.modules.queue import Queue
from sslight.optim import Recipe
from sslight.types import Batch, StepOutput


class NNCLR(SSLModule):
    """NNCLR (Dwibedi et al., 2021, arXiv:2104.14548), eq. 2 and 3, algorithm 1.

    Each view is projected (z) and its projection predicted (p). The nearest neighbour of z in a
    queue of earlier normalised projections, without gradient, finds the prediction of the other
    view among the global batch's (gathered from all ranks, with gradient): in-batch cross-entropy,
    the mean of both directions. After the loss the first view's normalised projections enter the
    queue. Evaluated is the backbone.

    In a YAML: ``method: {name: nnclr, queue_size: 98304}`` with two views from ``{name: simclr}``.

    Args:
        backbone: Maps images to ``[B, D]``.
        optim: The optimisation recipe.
        hidden_dim: Width of the projector's hidden layers.
        out_dim: Width of projection and prediction.
        layers: Linear layers of the projector.
        predictor_dim: Width of the predictor's hidden layer.
        queue_size: Projections kept; many times the batch.
        temperature: T.

    Note:
        The queue starts with random directions, as in the paper, so the first steps' neighbours
        mean nothing; both views share a pass of the backbone, so its batch norms see them together.
    """

    accumulation: ClassVar[Literal["exact", "approximate"]] = "approximate"
    default_views: ClassVar[str] = "simclr"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        hidden_dim: int = 2048,
        out_dim: int = 256,
        layers: int = 3,
        predictor_dim: int = 4096,
        queue_size: int = 98304,
        temperature: float = 0.1,
    ) -> None:
        super().__init__(backbone, optim)
        if not temperature > 0:
            raise ValueError(f"nnclr: temperature must be above 0, got {temperature}.")
        self.temperature = temperature
        width = cast(int, self.backbone.embed_dim)
        self.projector = mlp(width, hidden_dim, out_dim, layers, last_bn=True)
        self.predictor = mlp(out_dim, predictor_dim, out_dim)
        self.queue = Queue(queue_size, out_dim)

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the loss between neighbours and predictions of two views; fill the queue."""
        views = batch["views"]
        if len(views) != 2:
            raise RefusedRunError(
                f"nnclr: compares two views, but the batch has {len(views)}. Use data.views: "
                "{name: simclr}, or another preset with two views."
            )
        embedding = forward_crops(self.backbone, views)  # [2B, D]
        projections = self.projector(embedding)  # [2B, P]
        p1, p2 = self.predictor(projections).chunk(2)  # [B, P] each
        n1, n2 = nearest_neighbours(projections, self.queue.rows).chunk(2)
        loss = nnclr_loss((n1, n2), (p1, p2), self.temperature, gather=True)
        if self.training and torch.is_grad_enabled():
            z1, _ = projections.chunk(2)
            self.queue.push(F.normalize(widened(z1), dim=1))
        return StepOutput(loss, embedding=embedding)
