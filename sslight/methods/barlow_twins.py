"""Barlow Twins: the cross-correlation of two views' projections becomes the identity."""

from __future__ import annotations

from typing import ClassVar, Literal, cast

from torch import nn

from sslight.losses.barlow_twins import barlow_twins_loss
from sslight.module import SSLModule
from sslight.modules.heads import mlp
from sslight.modules.multicrop import forward_crops
from sslight.optim import Recipe
from sslight.types import Batch, StepOutput


class BarlowTwins(SSLModule):
    """Barlow Twins (Zbontar et al., 2021, arXiv:2103.03230), eq. 1 and 2, algorithm 1.

    Backbone and projector embed every view; the cross-correlation matrix of two views, over the
    global batch, is pulled towards the identity: each feature agrees between the views (diagonal)
    and tells something of its own (off-diagonal). No negatives, teacher or predictor. Evaluated is
    the backbone.

    In a YAML: ``method: {name: barlow_twins}`` with views from ``{name: byol}``.

    Args:
        backbone: Maps images to ``[B, D]``.
        optim: The optimisation recipe.
        hidden_dim: Width of the projector's hidden layers.
        out_dim: Width of the projection.
        layers: Linear layers of the projector.
        redundancy_weight: Lambda, the weight of the off-diagonal terms.
        scale: Factor on the loss.

    Note:
        The default scale, 1, is the paper's equation and the authors' code of today, which gives
        biases and norms a learning rate of their own (0.0048 beside 0.2 for weights). The code
        their published weights came from multiplied the loss by 0.024 = 0.0048 / 0.2 instead, which
        under LARS is nearly the same; VISSL keeps 0.024, solo-learn uses 0.1 on CIFAR.

        Means, variances and the correlation are those of all ranks, with gradient. The authors sum
        the correlation over W ranks outside autograd, and DDP averages: their gradient is 1 / W of
        the loss's. LARS hides that from weights, but not from biases and norms, which it steps as
        SGD does; so the recipe of their weights, trained on 16 GPUs, has scale 0.024 / 16 here.
        solo-learn's 0.1 is of one GPU.

        Views of one size share a pass of the network, so its batch norms see both; the authors'
        code runs each view by itself.
    """

    accumulation: ClassVar[Literal["exact", "approximate"]] = "approximate"
    default_views: ClassVar[str] = "byol"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        hidden_dim: int = 8192,
        out_dim: int = 8192,
        layers: int = 3,
        redundancy_weight: float = 0.005,
        scale: float = 1.0,
    ) -> None:
        super().__init__(backbone, optim)
        if redundancy_weight < 0 or not scale > 0:
            raise ValueError(
                "barlow_twins: redundancy_weight must be 0 or more and scale above 0, "
                f"got {redundancy_weight} and {scale}."
            )
        self.redundancy_weight, self.scale = redundancy_weight, scale
        width = cast(int, self.backbone.embed_dim)
        # Standardising would subtract a bias in the last layer.
        self.projector = mlp(width, hidden_dim, out_dim, layers, last_bias=False)

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the loss over all views of the batch."""
        views = batch["views"]
        embedding = forward_crops(self.backbone, views)  # [VB, D]
        projections = self.projector(embedding).chunk(len(views))  # V of [B, P]
        loss = barlow_twins_loss(projections, self.redundancy_weight, gather=True)
        return StepOutput(self.scale * loss, embedding=embedding)
