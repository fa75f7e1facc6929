"""DCL: SimCLR whose positives do not compete with its negatives; good at small batches."""

from __future__ import annotations

from typing import ClassVar, Literal, cast

from torch import nn

from sslight.losses.dcl import dcl
from sslight.module import SSLModule
from sslight.modules.heads import mlp
from sslight.modules.multicrop import forward_crops
from sslight.optim import Recipe
from sslight.types import Batch, StepOutput


class DCL(SSLModule):
    """DCL and DCLW (Yeh et al., 2021, arXiv:2110.06848), losses L_DC and L_DCW.

    Backbone and projector embed every view, as in SimCLR. Positives are pulled by their cosine
    alone, without a place in the denominator, so that an easy positive does not silence the
    negatives and a batch of 256 is enough. ``weighted`` gives DCLW: a pair counts the more, the
    farther apart its views lie. Negatives and weights see all ranks. Evaluated is the backbone.

    In a YAML: ``method: {name: dcl, weighted: true}`` with views from ``{name: simclr}``; the
    learning rate of a SimCLR recipe serves.

    Args:
        backbone: Maps images to ``[B, D]``.
        optim: The optimisation recipe.
        hidden_dim: Width of the projector's hidden layers.
        out_dim: Width of the projection.
        layers: Linear layers of the projector.
        bn: Batch norm in the projector's hidden layers.
        last_bn: Batch norm after the projector's last layer too, as lightly's recipes have it.
        temperature: T.
        weighted: Weigh the positive pairs (DCLW).
        sigma: Of the weights: the smaller, the more the hardest pairs weigh.

    Note:
        The paper's loss has two views. With more crops, of any sizes, every ordered pair of crops
        of an image is a positive pair. The weights of DCLW carry a gradient, as the paper's
        equation is written; see :func:`sslight.losses.dcl.dcl`.
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
        last_bn: bool = False,
        temperature: float = 0.1,
        weighted: bool = False,
        sigma: float = 0.5,
    ) -> None:
        super().__init__(backbone, optim)
        for name, value in (("temperature", temperature), ("sigma", sigma)):
            if not value > 0:
                raise ValueError(f"dcl: {name} must be above 0, got {value}.")
        self.temperature = temperature
        self.sigma = sigma if weighted else None
        width = cast(int, self.backbone.embed_dim)
        self.projector = mlp(width, hidden_dim, out_dim, layers, bn=bn, last_bn=last_bn)

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the decoupled loss over all views of the batch."""
        views = batch["views"]
        embedding = forward_crops(self.backbone, views)  # [VB, D]
        projections = self.projector(embedding).chunk(len(views))  # V of [B, P]
        loss = dcl(projections, self.temperature, sigma=self.sigma, gather=True)
        return StepOutput(loss, embedding=embedding)
