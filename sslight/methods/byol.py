"""BYOL: predict a momentum teacher's projection of another view; no negatives."""

from __future__ import annotations

from typing import ClassVar, cast

from torch import nn

from sslight.losses.byol import byol_loss
from sslight.module import SSLModule
from sslight.modules.ema import EMA
from sslight.modules.heads import mlp
from sslight.modules.multicrop import forward_crops
from sslight.optim import Recipe
from sslight.schedules import Cosine, Schedule
from sslight.types import Batch, StepOutput


class BYOL(SSLModule):
    """BYOL (Grill et al., 2020, arXiv:2006.07733), eq. 2 and algorithm 1.

    The online network is backbone, projector and predictor; the teacher is a momentum average of
    backbone and projector. Each view's prediction regresses the teacher's projection of the other,
    ``2 - 2 cos``, summed over both directions. After each optimizer step the teacher moves with
    ``m = 1 - (1 - m0) (cos(pi k / K) + 1) / 2``. Evaluated is the online backbone.

    In a YAML: ``method: {name: byol}`` with views from ``{name: byol}``; the momentum may be
    written ``{name: cosine, start: 0.996, end: 1.0}``.

    Args:
        backbone: Maps images to ``[B, D]``.
        optim: The optimisation recipe.
        hidden_dim: Width of the hidden layer of projector and predictor.
        out_dim: Width of projection and prediction.
        momentum: m; a plain number stays constant.
        teacher_eval: Keep the teacher in eval mode; by default its batch norms use the batch.

    Note:
        Views of one size share a pass, so batch norms see both; the authors' code runs each view by
        itself. With more than two crops the teacher sees the global ones and every crop predicts
        them; see :func:`sslight.losses.byol.byol_loss` for the scale.
    """

    default_views: ClassVar[str] = "byol"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        hidden_dim: int = 4096,
        out_dim: int = 256,
        momentum: float | Schedule = Cosine(0.996, 1.0),  # noqa: B008  a frozen dataclass
        teacher_eval: bool = False,
    ) -> None:
        super().__init__(backbone, optim)
        self.projector = mlp(cast(int, self.backbone.embed_dim), hidden_dim, out_dim)
        self.predictor = mlp(out_dim, hidden_dim, out_dim)
        online = nn.Sequential(self.backbone, self.projector)
        self.teacher = EMA(online, momentum, eval_mode=teacher_eval)

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the symmetric regression loss over all views of the batch."""
        views = batch["views"]
        global_views = views[: batch.get("n_global", len(views))]
        embedding = forward_crops(self.backbone, views)  # [VB, D]
        predictions = self.predictor(self.projector(embedding)).chunk(len(views))  # V of [B, P]
        targets = forward_crops(self.teacher, global_views).chunk(len(global_views))  # G of [B, P]
        return StepOutput(byol_loss(predictions, targets), embedding=embedding)
