"""SupCon: contrastive learning in which images of one class attract each other."""

from __future__ import annotations

from typing import ClassVar, Literal, cast

from torch import nn

from sslight.losses.supcon import supcon
from sslight.module import SSLModule
from sslight.modules.heads import mlp
from sslight.modules.multicrop import forward_crops
from sslight.optim import Recipe
from sslight.types import Batch, StepOutput


class SupCon(SSLModule):
    """SupCon (Khosla et al., 2020, arXiv:2004.11362), eq. 2, L_out.

    Backbone and projector embed every view, as in SimCLR. Positives of an embedding are the other
    views of its image and every view of the images of its class in the global batch (labels and
    embeddings are gathered from all ranks, with gradient); the log-probabilities are averaged over
    the positives and scaled by T / base T. Any number of views is taken. Evaluated is the backbone.

    An image without a label (-1) has only its own other views as positives and is a negative of
    all others, so partly labelled data trains SimCLR and SupCon at once.

    In a YAML: ``method: {name: supcon, temperature: 0.1}`` with views from ``{name: simclr}``; the
    source must give labels.

    Args:
        backbone: Maps images to ``[B, D]``.
        optim: The optimisation recipe.
        hidden_dim: Width of the projector's hidden layers.
        out_dim: Width of the projection.
        layers: Linear layers of the projector.
        bn: Batch norm in the projector's hidden layers; the paper has none.
        temperature: T.
        base_temperature: The loss is multiplied by T / base T; 0.07 in the authors' code. Set it
            to ``temperature`` for no scaling.

    Note:
        The paper augments by AutoAugment; views are SimCLR's here, as in its appendix on CIFAR.
    """

    needs: ClassVar[tuple[str, ...]] = ("views", "label")
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
        bn: bool = False,
        temperature: float = 0.1,
        base_temperature: float = 0.07,
    ) -> None:
        super().__init__(backbone, optim)
        for name, value in (("temperature", temperature), ("base_temperature", base_temperature)):
            if not value > 0:
                raise ValueError(f"supcon: {name} must be above 0, got {value}.")
        self.temperature, self.base_temperature = temperature, base_temperature
        self.projector = mlp(cast(int, self.backbone.embed_dim), hidden_dim, out_dim, layers, bn=bn)

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the supervised contrastive loss over all views of the batch."""
        views = batch["views"]
        embedding = forward_crops(self.backbone, views)  # [VB, D]
        projections = self.projector(embedding).chunk(len(views))  # V of [B, P]
        temperatures = self.temperature, self.base_temperature
        loss = supcon(projections, batch["label"], *temperatures, gather=True)
        return StepOutput(loss, embedding=embedding)
