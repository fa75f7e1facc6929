"""DINOv2: DINO and iBOT at scale, with balanced targets and spread embeddings."""

from __future__ import annotations

from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from sslight.backbones.masking import ensure_mask_token
from sslight.losses.dino import dino_loss, mean_entropy
from sslight.losses.gram import gram_loss
from sslight.losses.ibot import masked_patch_loss
from sslight.losses.koleo import koleo
from sslight.module import SSLModule
from sslight.modules.center import RISING_TEMPERATURE
from sslight.modules.dino_head import TokenHeads
from sslight.modules.drop import without_drop
from sslight.modules.ema import EMA
from sslight.modules.gram_teacher import GramTeacher
from sslight.modules.masked_tokens import MaskedTokens, masked_tokens
from sslight.modules.multicrop import forward_tokens
from sslight.modules.targets import Centering, Targets
from sslight.optim import Recipe
from sslight.schedules import Clock, Cosine, Schedule, as_schedule
from sslight.types import Batch, StepOutput


class DINOv2(SSLModule):
    """DINOv2 (Oquab et al., 2023, arXiv:2304.07193), section 4; Gram anchoring of DINOv3.

    Class tokens are compared across crops as in DINO, masked patches within them as in iBOT, each
    with a head of its own. Sinkhorn-Knopp turns the teacher's logits, of the whole batch, into
    targets that use every prototype. KoLeo spreads the class tokens of each global crop. In a later
    stage of training Gram anchoring (DINOv3, arXiv:2508.10104, section 4) keeps the similarities
    among patches as an earlier teacher has them. Evaluated, and probed while training, is the
    teacher's backbone; its registers are ``backbone: {registers: 4}``.

    In a YAML: ``method: {name: dinov2}`` with views from ``{name: ibot, patch_size: 14, local_size:
    98}``; the last layers rest for an epoch by ``optim: {groups: [{pattern: ^heads.*last_layer,
    freeze_epochs: 1}]}``.

    Args:
        backbone: A vision transformer; it is given a mask token.
        optim: The optimisation recipe.
        hidden_dim: Width of the heads' hidden layers.
        bottleneck_dim: Width of the heads' bottlenecks.
        out_dim: Number of prototypes of each head.
        shared_head: One head for class and patch tokens.
        norm_last_layer: Keep prototypes at length 1.
        centering: ``sinkhorn``, or ``center`` for running means, as in DINO.
        student_temperature: T of the student.
        teacher_temperature: T of the teacher; Sinkhorn's epsilon.
        center_momentum: Of the running means.
        cls_weight: Weight of the class tokens' loss.
        patch_weight: Weight of the patch tokens' loss.
        koleo_weight: Weight of KoLeo, which is summed over global crops.
        koleo_per_rank: Look for neighbours among a rank's own images, as the authors' code does.
        gram_weight: Weight of Gram anchoring, 0 for none; DINOv3 uses 2. With views of
            ``{name: ibot, gram_size: 448}`` the Gram teacher sees larger, cleaner copies.
        gram_start: Epoch before which the Gram teacher is copied from the teacher.
        gram_every: Epochs after which it is copied anew; None keeps the first copy.
        momentum: Of the teacher; a plain number stays constant.

    Note:
        Temperatures rise during the first tenth of training, as in DINO. ``center`` averages over
        masked patches only, as the authors' code and unlike iBOT; their update one call late gives
        the same targets. The student's patches in Gram anchoring are of masked crops, as the
        authors'. Stochastic depth draws each sample; theirs leaves out an exact share of a batch.
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
        out_dim: int = 65536,
        shared_head: bool = False,
        norm_last_layer: bool = False,
        centering: Centering = "sinkhorn",
        student_temperature: float = 0.1,
        teacher_temperature: float | Schedule = RISING_TEMPERATURE,
        center_momentum: float = 0.9,
        cls_weight: float = 1.0,
        patch_weight: float = 1.0,
        koleo_weight: float = 0.1,
        koleo_per_rank: bool = False,
        gram_weight: float = 0.0,
        gram_start: int = 0,
        gram_every: int | None = None,
        momentum: float | Schedule = Cosine(0.992, 1.0),  # noqa: B008  a frozen dataclass
    ) -> None:
        super().__init__(backbone, optim)
        ensure_mask_token(self.backbone)
        self.student_temperature = student_temperature
        self.teacher_temperature = as_schedule(teacher_temperature)
        self.koleo_per_rank = koleo_per_rank
        self.weights = {"cls": cls_weight, "patch": patch_weight, "koleo": koleo_weight}

        sizes = cast(int, self.backbone.embed_dim), hidden_dim, bottleneck_dim, out_dim
        self.heads = TokenHeads(*sizes, shared=shared_head, norm_last_layer=norm_last_layer)
        self.teacher_backbone = EMA(self.backbone, momentum)
        self.teacher_heads = EMA(self.heads, momentum)
        without_drop(self.teacher_backbone)
        self.cls_targets = Targets(out_dim, centering, center_momentum)
        self.patch_targets = Targets(out_dim, centering, center_momentum)
        self.gram_teacher: GramTeacher | None = None
        if gram_weight:
            self.weights["gram"] = gram_weight
            self.gram_teacher = GramTeacher(self.eval_backbone, gram_start, gram_every)

    @property
    def eval_backbone(self) -> nn.Module:
        """The teacher's backbone."""
        return self.teacher_backbone.teacher

    def before_epoch(self, clock: Clock) -> None:
        """Copy the Gram teacher in the epochs that are due."""
        if self.gram_teacher is not None:
            self.gram_teacher.before_epoch(clock)

    @property
    def prototype_head(self) -> nn.Module:
        """Compares embeddings ``[B, D]`` with the prototypes: the teacher's logits ``[B, K]``."""
        return cast(TokenHeads, self.teacher_heads.teacher).cls

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the weighted sum of all losses."""
        views, count = batch["views"], len(batch["masks"])
        masks = torch.cat(batch["masks"])  # [GB, P]
        masked = masked_tokens(masks, batch.get("n_masked"))
        cls, patches = forward_tokens(self.backbone, views[:count], views[count:], masks)
        students, guesses = self.heads(cls, masked.of(patches))  # [VB, K], [N, K]
        embedding, targets, patch_targets = self._teach(views[:count], masked)
        t, crops = self.student_temperature, cls.chunk(len(views))[:count]
        spread = [koleo(crop, gather=not self.koleo_per_rank) for crop in crops]
        losses = {
            "cls": dino_loss(students.chunk(len(views)), targets.chunk(count), t),
            "patch": masked_patch_loss(guesses, patch_targets, masked.in_image, masked.images, t),
            "koleo": torch.stack(spread).sum(),
        }
        if self.gram_teacher is not None and self.gram_teacher.exists(self.clock):
            seen, grid = batch.get("anchors", views[:count]), self.backbone.grid(views[0])
            losses["gram"] = gram_loss(patches, self.gram_teacher.anchors(seen, grid))
        loss = torch.stack([self.weights[name] * value for name, value in losses.items()]).sum()
        logs = {f"{name}_loss": value for name, value in losses.items()}
        logs["teacher_entropy"] = mean_entropy(targets)
        return StepOutput(loss, embedding=embedding, logs=logs)

    def _teach(self, views: list[Tensor], masked: MaskedTokens) -> tuple[Tensor, Tensor, Tensor]:
        """Give the class tokens ``[GB, D]``, their targets, and those of masked patches."""
        with torch.no_grad():
            cls, patches = forward_tokens(self.teacher_backbone.teacher, views)
            logits, patch_logits = self.teacher_heads(cls, masked.of(patches))
        t = self.teacher_temperature(self.clock)
        patch_targets = self.patch_targets(patch_logits, t, masked.in_image > 0)
        return cls, self.cls_targets(logits, t), patch_targets
