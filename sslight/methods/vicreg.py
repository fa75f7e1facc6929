"""VICReg: views agree, every feature varies, and no two features vary together."""

from __future__ import annotations

from typing import ClassVar, Literal, cast

from torch import nn

from sslight.losses.vicreg import vicreg_loss
from sslight.module import SSLModule
from sslight.modules.heads import mlp
from sslight.modules.multicrop import forward_crops
from sslight.optim import Recipe
from sslight.types import Batch, StepOutput


class VICReg(SSLModule):
    """VICReg (Bardes et al., 2022, arXiv:2105.04906), eq. 1 to 6, algorithm 1.

    Backbone and projector (the paper's expander) embed every view. The loss pulls the views of an
    image together (invariance), keeps the standard deviation of every feature above 1 (variance)
    and the features uncorrelated (covariance); variance and covariance are those of the global
    batch. Evaluated is the backbone.

    In a YAML: ``method: {name: vicreg}`` with views from ``{name: byol}``.

    Args:
        backbone: Maps images to ``[B, D]``.
        optim: The optimisation recipe.
        hidden_dim: Width of the projector's hidden layers.
        out_dim: Width of the projection.
        layers: Linear layers of the projector.
        invariance_weight: Lambda, of the mean squared difference of two views.
        variance_weight: Mu, of the variance hinge, averaged over the views.
        covariance_weight: Nu, of the covariances, summed over two views.

    Note:
        The paper's views are symmetric: ``{name: byol, blur: [0.5, 0.5], solarize: [0.1, 0.1]}``.

        Views of one size share a pass of the network, so its batch norms see both; the authors'
        code runs each view by itself. See :func:`sslight.losses.vicreg.vicreg_loss` for the scale,
        and for more than two views.
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
        invariance_weight: float = 25.0,
        variance_weight: float = 25.0,
        covariance_weight: float = 1.0,
    ) -> None:
        super().__init__(backbone, optim)
        self.weights = (invariance_weight, variance_weight, covariance_weight)
        if min(self.weights) < 0:
            raise ValueError(f"vicreg: the weights must be 0 or more, got {self.weights}.")
        width = cast(int, self.backbone.embed_dim)
        # No term sees a bias that the last layer adds to both views.
        self.projector = mlp(width, hidden_dim, out_dim, layers, last_bias=False)

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the three terms over all views of the batch."""
        views = batch["views"]
        embedding = forward_crops(self.backbone, views)  # [VB, D]
        projections = self.projector(embedding).chunk(len(views))  # V of [B, P]
        loss = vicreg_loss(projections, *self.weights, gather=True)
        return StepOutput(loss, embedding=embedding)
