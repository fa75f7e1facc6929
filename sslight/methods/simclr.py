"""SimCLR: agreement of two views of an image against all other images of the batch."""

from __future__ import annotations

from typing import ClassVar, Literal, cast

from torch import nn

from sslight.losses.nt_xent import nt_xent_multiview
from sslight.module import SSLModule
from sslight.modules.heads import mlp
from sslight.modules.multicrop import forward_crops
from sslight.optim import Recipe
from sslight.types import Batch, StepOutput


class SimCLR(SSLModule):
    """SimCLR (Chen et al., 2020, arXiv:2002.05709), eq. 1, algorithm 1.

    Backbone and projector embed every view; NT-Xent pulls the views of an image together and pushes
    it away from all other images of the global batch (negatives are gathered from all ranks, with
    gradient). Any number of views, of any sizes, is taken: with more than 2, every ordered pair of
    crops of an image is a positive (VISSL's multi-crop SimCLR).

    In a YAML: ``method: {name: simclr, temperature: 0.1}`` with views from ``{name: simclr}``.

    Args:
        backbone: Maps images to ``[B, D]``.
        optim: The optimisation recipe.
        hidden_dim: Width of the projector's hidden layers.
        out_dim: Width of the projection.
        layers: Linear layers of the projector.
        bn: Batch norm in the projector's hidden layers.
        temperature: T.

    Note:
        All crops of one size share a pass of the backbone, so its batch norms see them together.
        With batch norm in the projector or the backbone, equality over ranks needs
        ``trainer.sync_batchnorm``.
    """

    accumulation: ClassVar[Literal["exact", "approximate"]] = "approximate"
    default_views: ClassVar[str] = "simclr"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        hidden_dim: int = 2048,
        out_dim: int = 128,
        layers: int = 2,
        bn: bool = True,
        temperature: float = 0.1,
    ) -> None:
        super().__init__(backbone, optim)
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}.")
        self.temperature = temperature
        self.projector = mlp(cast(int, self.backbone.embed_dim), hidden_dim, out_dim, layers, bn=bn)

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute NT-Xent over all views of the batch."""
        views = batch["views"]
        embedding = forward_crops(self.backbone, views)  # [VB, D]
        projections = self.projector(embedding).chunk(len(views))  # V of [B, P]
        loss = nt_xent_multiview(projections, self.temperature, gather=True)
        return StepOutput(loss, embedding=embedding)
