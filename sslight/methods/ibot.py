"""iBOT: DINO, and the same distillation for patches that the student does not see."""

from __future__ import annotations

from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from sslight.backbones.masking import ensure_mask_token
from sslight.losses.dino import centered_softmax, dino_loss, mean_entropy
from sslight.losses.ibot import masked_patch_loss
from sslight.module import SSLModule
from sslight.modules.center import RISING_TEMPERATURE, Center
from sslight.modules.dino_head import TokenHeads
from sslight.modules.drop import without_drop
from sslight.modules.ema import EMA
from sslight.modules.masked_tokens import masked_tokens
from sslight.modules.multicrop import forward_tokens
from sslight.optim import Recipe
from sslight.schedules import Cosine, Schedule, as_schedule
from sslight.types import Batch, StepOutput


class IBOT(SSLModule):
    """iBOT (Zhou et al., 2022, arXiv:2111.07832), eq. 1 to 3, algorithm 1.

    Blocks of patches of the student's global crops are replaced by the mask token; the teacher, a
    momentum average, sees them whole. Class tokens are compared across crops as in DINO; each
    masked patch is compared with the teacher's same patch of the same crop, by cross-entropy of
    centred and sharpened probabilities. Evaluated, and probed while training, is the teacher's
    backbone.

    In a YAML: ``method: {name: ibot}`` with views from ``{name: ibot, patch_size: 16}``; the last
    layer rests for an epoch by ``optim: {groups: [{pattern: ^heads.*last_layer, freeze_epochs:
    1}]}``.

    Args:
        backbone: A vision transformer; it is given a mask token.
        optim: The optimisation recipe.
        hidden_dim: Width of the head's hidden layers.
        bottleneck_dim: Width of the head's bottleneck.
        out_dim: Number of prototypes.
        shared_head: One head for class and patch tokens, which the paper found better.
        norm_last_layer: Keep prototypes at length 1: more stable; for a small ViT worse.
        student_temperature: T of the student.
        teacher_temperature: T of the teacher's class tokens.
        patch_temperature: T of the teacher's patch tokens.
        center_momentum: Of the running means of the teacher's logits.
        cls_weight: Weight of the class tokens' loss.
        patch_weight: Weight of the patch tokens' loss.
        momentum: Of the teacher; a plain number stays constant.

    Note:
        Temperatures rise during the first tenth of training, as in :mod:`sslight.methods.dino`. A
        head of its own for patches is a whole head; the authors' keeps the hidden layers together.
        The patches' center is the mean over all patch tokens of the teacher, as theirs.
    """

    needs: ClassVar[tuple[str, ...]] = ("views", "masks")
    needs_tokens: ClassVar[bool] = True
    accumulation: ClassVar[Literal["exact", "approximate"]] = "approximate"
    default_views: ClassVar[str] = "ibot"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        hidden_dim: int = 2048,
        bottleneck_dim: int = 256,
        out_dim: int = 8192,
        shared_head: bool = True,
        norm_last_layer: bool = True,
        student_temperature: float = 0.1,
        teacher_temperature: float | Schedule = RISING_TEMPERATURE,
        patch_temperature: float | Schedule = RISING_TEMPERATURE,
        center_momentum: float = 0.9,
        cls_weight: float = 1.0,
        patch_weight: float = 1.0,
        momentum: float | Schedule = Cosine(0.996, 1.0),  # noqa: B008  a frozen dataclass
    ) -> None:
        super().__init__(backbone, optim)
        ensure_mask_token(self.backbone)
        self.student_temperature = student_temperature
        self.teacher_temperature = as_schedule(teacher_temperature)
        self.patch_temperature = as_schedule(patch_temperature)
        self.cls_weight, self.patch_weight = cls_weight, patch_weight

        self.heads = TokenHeads(
            cast(int, self.backbone.embed_dim),
            hidden_dim,
            bottleneck_dim,
            out_dim,
            shared=shared_head,
            norm_last_layer=norm_last_layer,
        )
        self.teacher_backbone = EMA(self.backbone, momentum)
        self.teacher_heads = EMA(self.heads, momentum)
        without_drop(self.teacher_backbone)
        self.center = Center(out_dim, center_momentum)
        self.patch_center = Center(out_dim, center_momentum)

    @property
    def eval_backbone(self) -> nn.Module:
        """The teacher's backbone."""
        return self.teacher_backbone.teacher

    @property
    def prototype_head(self) -> nn.Module:
        """Compares embeddings ``[B, D]`` with the prototypes: the teacher's logits ``[B, K]``."""
        return cast(TokenHeads, self.teacher_heads.teacher).cls

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the losses of class tokens across crops and of masked patches within them."""
        views, count = batch["views"], len(batch["masks"])
        masks = torch.cat(batch["masks"])  # [GB, P]
        masked = masked_tokens(masks, batch.get("n_masked"))
        cls, patches = forward_tokens(self.backbone, views[:count], views[count:], masks)
        students, guesses = self.heads(cls, masked.of(patches))  # [VB, K], [N, K]

        embedding, logits, patch_logits = self._teacher(views[:count])
        targets = centered_softmax(logits, self.center.value, self.teacher_temperature(self.clock))
        patch_targets = centered_softmax(
            masked.of(patch_logits), self.patch_center.value, self.patch_temperature(self.clock)
        )
        if self.training and torch.is_grad_enabled():
            self.center.update(logits)
            self.patch_center.update(patch_logits)

        t = self.student_temperature
        cls_loss = dino_loss(students.chunk(len(views)), targets.chunk(count), t)
        patch_loss = masked_patch_loss(guesses, patch_targets, masked.in_image, masked.images, t)
        logs = {"cls_loss": cls_loss, "patch_loss": patch_loss}
        logs["teacher_entropy"] = mean_entropy(targets)
        loss = self.cls_weight * cls_loss + self.patch_weight * patch_loss
        return StepOutput(loss, embedding=embedding, logs=logs)

    @torch.no_grad()
    def _teacher(self, views: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Give the class tokens ``[GB, D]``, their logits, and those of patches ``[GB, P, K]``."""
        cls, patches = forward_tokens(self.teacher_backbone.teacher, views)
        logits, patch_logits = self.teacher_heads(cls, patches.flatten(0, 1))
        return cls, logits, patch_logits.view(*patches.shape[:2], -1)
