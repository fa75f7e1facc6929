"""SimSiam: predict the projection of another view; no negatives and no momentum teacher."""

from __future__ import annotations

from typing import ClassVar, cast

from torch import nn

from sslight.losses.simsiam import simsiam_loss
from sslight.module import SSLModule
from sslight.modules.heads import mlp
from sslight.modules.multicrop import forward_crops
from sslight.optim import Recipe
from sslight.types import Batch, StepOutput


class SimSiam(SSLModule):
    """SimSiam (Chen & He, 2020, arXiv:2011.10566), eq. 2 and algorithm 1.

    Backbone and projector embed every view, a predictor with a bottleneck maps each projection to
    those of the other views, ``-(cos(p1, z2) + cos(p2, z1)) / 2``. The target side is the same
    network with a stop-gradient. Evaluated is the backbone.

    In a YAML: ``method: {name: simsiam}`` with views from ``{name: moco}``; FastSiam is
    ``{name: simsiam, average_targets: true}`` with views from ``{name: moco, count: 4}``.

    Args:
        backbone: Maps images to ``[B, D]``.
        optim: The optimisation recipe.
        hidden_dim: Width of the projector's hidden layers.
        out_dim: Width of projection and prediction.
        bottleneck_dim: Width of the predictor's hidden layer.
        layers: Linear layers of the projector; the paper has 3 on ImageNet and 2 on CIFAR-10.
        average_targets: With more than two views, predict the mean of the other views' projections
            instead of each of them (FastSiam).

    Note:
        The paper keeps the predictor's learning rate constant, which is worth 0.4 % on ImageNet
        (table 1): ``optim: {groups: [{pattern: ^predictor, constant_lr: true}]}``, as the shipped
        configs have it.

        Views of one size share a pass, so batch norms see both; the authors' code runs each view by
        itself. With local crops, the targets are the projections of the global views.
    """

    default_views: ClassVar[str] = "moco"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        hidden_dim: int = 2048,
        out_dim: int = 2048,
        bottleneck_dim: int = 512,
        layers: int = 3,
        average_targets: bool = False,
    ) -> None:
        super().__init__(backbone, optim)
        width = cast(int, self.backbone.embed_dim)
        self.projector = mlp(width, hidden_dim, out_dim, layers, last_bn=True, last_affine=False)
        self.predictor = mlp(out_dim, bottleneck_dim, out_dim)
        self.average_targets = average_targets

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the symmetric loss over all views of the batch."""
        views = batch["views"]
        embedding = forward_crops(self.backbone, views)  # [VB, D]
        projections = self.projector(embedding)  # [VB, P]
        predictions = self.predictor(projections).chunk(len(views))  # V of [B, P]
        targets = projections.chunk(len(views))[: batch.get("n_global", len(views))]
        loss = simsiam_loss(predictions, targets, average_targets=self.average_targets)
        return StepOutput(loss, embedding=embedding)
