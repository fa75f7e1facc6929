"""MSN: masked and small anchors share the prototypes of the whole image."""

from __future__ import annotations

from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from sslight.backbones.pooling import pooled
from sslight.losses.msn import me_max, msn_loss, msn_targets
from sslight.module import SSLModule
from sslight.modules.cosine_logits import CosineLogits
from sslight.modules.drop import without_drop
from sslight.modules.ema import EMA
from sslight.modules.heads import mlp
from sslight.modules.masking import mask_noise, random_masking
from sslight.modules.multicrop import runs_of_a_size
from sslight.optim import Recipe
from sslight.schedules import Linear, Schedule, as_schedule
from sslight.types import Batch, StepOutput


class MSN(SSLModule):
    """Masked Siamese Networks (Assran et al., 2022, arXiv:2204.07141), eq. 1.

    The first view is the target; a momentum average of backbone and head embeds it whole. The other
    global views lose a random share of their patches, which the backbone never sees; local views
    ("focal masks") are seen whole. The similarities of an anchor to learnt prototypes match those
    of the target, sharpened and shared out evenly by Sinkhorn, by cross-entropy; the entropy of the
    anchors' mean prediction is maximised (me-max). Evaluated is the average.

    In a YAML: ``method: {name: msn}`` with views from ``{name: msn}``; the authors' prototypes do
    not decay: ``optim: {groups: [{pattern: ^prototypes, weight_decay: 0.0}]}``.

    Args:
        backbone: A vision transformer that can leave patches out (sslight's, or a plain ViT of
            timm's).
        optim: The optimisation recipe.
        hidden_dim: Width of the head's two hidden layers.
        out_dim: Width of the embedding that is compared with prototypes.
        num_prototypes: K.
        mask_ratio: Share of patches that global anchors lose; 0.15 for ViT-S, 0.7 for ViT-L.
        temperature: Of the similarities.
        target_temperature: Sharpens the targets.
        sinkhorn_iterations: Rounds on the targets; 0 for none.
        me_max_weight: Weight of the entropy term.
        me_max_per_rank: Take the entropy of the mean prediction of a rank's own anchors.
        momentum: Of the average; a plain number stays constant.

    Note:
        The average's momentum reaches 1 at the end; the authors' schedules are stretched by a
        quarter and stop at 0.9992. Me-max sees the anchors of all ranks. The authors clip the
        gradient of backbone and head; the trainer's clipping takes in the prototypes'.
    """

    needs_tokens: ClassVar[bool] = True
    accumulation: ClassVar[Literal["exact", "approximate"]] = "approximate"
    default_views: ClassVar[str] = "msn"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        hidden_dim: int = 2048,
        out_dim: int = 256,
        num_prototypes: int = 1024,
        mask_ratio: float = 0.15,
        temperature: float = 0.1,
        target_temperature: float | Schedule = 0.25,
        sinkhorn_iterations: int = 3,
        me_max_weight: float = 1.0,
        me_max_per_rank: bool = False,
        momentum: float | Schedule = Linear(0.996, 1.0),  # noqa: B008  a frozen dataclass
    ) -> None:
        super().__init__(backbone, optim)
        if not 0 <= mask_ratio < 1:
            raise ValueError(f"msn: mask_ratio is {mask_ratio}; it is a share in [0, 1).")
        self.mask_ratio, self.temperature = mask_ratio, temperature
        self.target_temperature = as_schedule(target_temperature)
        self.sinkhorn_iterations = sinkhorn_iterations
        self.me_max_weight, self.me_max_per_rank = me_max_weight, me_max_per_rank
        width = cast(int, self.backbone.embed_dim)
        self.projector = mlp(width, hidden_dim, out_dim, 3, gelu=True)
        self.prototypes = CosineLogits(out_dim, num_prototypes)
        self.teacher_backbone = without_drop(EMA(self.backbone, momentum))
        self.teacher_projector = EMA(self.projector, momentum)

    @property
    def eval_backbone(self) -> nn.Module:
        """The teacher's backbone."""
        return self.teacher_backbone.teacher

    @property
    def prototype_head(self) -> nn.Module:
        """Compares embeddings ``[B, D]`` with the prototypes: cosines ``[B, K]``."""
        return nn.Sequential(self.teacher_projector.teacher, self.prototypes)

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the cross-entropy of all anchors with their target, and me-max."""
        # As the authors' code, so that the head's batch norms see one resolution at a time.
        projected = torch.cat([self.projector(part) for part in self._anchors(batch)])
        anchors = self.prototypes(projected, self.temperature)  # [VB, K]
        embedding = self.teacher_backbone(batch["views"][0])  # [B, D]
        targets = msn_targets(
            self.prototypes(self.teacher_projector(embedding), self.temperature),
            self.target_temperature(self.clock),
            self.sinkhorn_iterations,
            gather=True,
        )
        cross_entropy = msn_loss(anchors, targets)
        regulariser = me_max(anchors, gather=not self.me_max_per_rank)
        logs = {"cross_entropy": cross_entropy, "me_max": regulariser}
        loss = cross_entropy + self.me_max_weight * regulariser
        return StepOutput(loss, embedding=embedding, logs=logs)

    def _anchors(self, batch: Batch) -> list[Tensor]:
        """Embed all views but the first, ``[VB, D]`` a size; the global ones lack some patches."""
        views = batch["views"]
        count = batch.get("n_global", len(views))
        if len(views) < 2:
            raise ValueError(
                f"msn: got {len(views)} view; needs a target and one anchor or more, such as those "
                "of data.views: {name: msn}."
            )
        parts = [self._masked(torch.cat(views[1:count]), batch["index"])] if count > 1 else []
        return parts + [self.backbone(images) for images in runs_of_a_size(views[count:])]

    def _masked(self, images: Tensor, index: Tensor) -> Tensor:
        """Embed global anchors ``[VB, C, H, W]`` from those patches that the mask leaves."""
        if self.mask_ratio == 0:
            return cast(Tensor, self.backbone(images))
        rows, columns = self.backbone.grid(images)
        views = len(images) // len(index)
        noise = mask_noise(self.seed, self.clock.epoch, index, views, rows * columns)
        keep, _ = random_masking(noise.to(images.device), self.mask_ratio)
        return pooled(self.backbone, self.backbone.tokens(images, keep=keep))
