"""LeJEPA: views agree, and their projections are distributed as an isotropic Gaussian."""

from __future__ import annotations

from typing import ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslight.losses.lejepa import lejepa_loss
from sslight.module import SSLModule
from sslight.modules.heads import mlp
from sslight.modules.multicrop import forward_crops
from sslight.modules.upload import uploaded
from sslight.optim import Recipe
from sslight.types import Batch, StepOutput

#: Sets the directions' stream of draws apart from others.
_STREAM = 0x736C6963


class LeJEPA(SSLModule):
    """LeJEPA (Balestriero & LeCun, 2025, arXiv:2511.08544), algorithms 1 and 2.

    Backbone and projector embed every view. Each view predicts its image's centre, the mean of the
    global views; SIGReg keeps every view's projections, over the global batch, close to an
    isotropic Gaussian, by Epps and Pulley's test along random directions, new at each step and the
    same on all ranks. No teacher, predictor or stop-gradient. Evaluated is the backbone.

    In a YAML: ``method: {name: lejepa}`` with the paper's views, which are alike but for the crop:
    ``{name: dino, scale: [0.3, 1.0], local_scale: [0.05, 0.3], blur: [0.5, 0.5, 0.5],
    solarize: [0.2, 0.2, 0.2]}``.

    Args:
        backbone: Maps images to ``[B, D]``.
        optim: The optimisation recipe.
        hidden_dim: Width of the projector's hidden layers.
        out_dim: Width of the projection.
        layers: Linear layers of the projector.
        sigreg_weight: Lambda; SIGReg counts with it, the invariance with the rest to 1.
        center: ``global``: the centre is the mean of the global views, the paper's algorithm;
            ``all``: of all views, which the paper asks for with backbones other than transformers,
            and which its minimal code does.
        num_slices: Directions of SIGReg at each step.
        knots: Points of SIGReg's quadrature.
        t_max: Where its integration ends.

    Note:
        The paper's algorithm integrates over [-5, 5] with 17 points. Here it is the authors' code:
        17 points on [0, 3], doubled by symmetry; the paper finds both choices to matter little.

        The paper adds stochastic weight averaging of the centre's encoder for transformers as an
        option, which is left out.
    """

    accumulation: ClassVar[Literal["exact", "approximate"]] = "approximate"
    default_views: ClassVar[str] = "dino"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        hidden_dim: int = 2048,
        out_dim: int = 128,
        layers: int = 3,
        sigreg_weight: float = 0.05,
        center: Literal["global", "all"] = "global",
        num_slices: int = 1024,
        knots: int = 17,
        t_max: float = 3.0,
    ) -> None:
        super().__init__(backbone, optim)
        _check(sigreg_weight, center, num_slices, knots, t_max)
        self.sigreg_weight, self.center, self.num_slices = sigreg_weight, center, num_slices
        self.knots, self.t_max = knots, t_max
        self.out_dim = out_dim
        self.projector = mlp(cast(int, self.backbone.embed_dim), hidden_dim, out_dim, layers)

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute invariance and SIGReg over all views of the batch."""
        views = batch["views"]
        embedding = forward_crops(self.backbone, views)  # [VB, D]
        projections = self.projector(embedding).chunk(len(views))  # V of [B, P]
        everything = self.center == "all" or "n_global" not in batch
        targets = projections if everything else projections[: batch["n_global"]]
        loss = lejepa_loss(
            projections,
            targets,
            uploaded(self._directions(), embedding.device),
            self.sigreg_weight,
            knots=self.knots,
            t_max=self.t_max,
            gather=True,
        )
        return StepOutput(loss, embedding=embedding)

    def _directions(self) -> Tensor:
        """Draw this step's unit vectors ``[P, M]``: the same on every rank, and after resuming."""
        generator = self.shared_generator(_STREAM)
        return F.normalize(torch.randn(self.out_dim, self.num_slices, generator=generator), dim=0)


def _check(sigreg_weight: float, center: str, num_slices: int, knots: int, t_max: float) -> None:
    if not 0 <= sigreg_weight <= 1:
        raise ValueError(f"lejepa: sigreg_weight is {sigreg_weight}; it lies in [0, 1].")
    if center not in ("global", "all"):
        raise ValueError(f"lejepa: center is {center!r}; use 'global' or 'all'.")
    if num_slices < 1 or knots < 2 or not t_max > 0:
        raise ValueError(
            "lejepa: needs num_slices of 1 or more, knots of 2 or more and t_max above 0, "
            f"got {num_slices}, {knots} and {t_max}."
        )
