"""MoCo v3: find a momentum encoder's keys of the other view among the batch; made for ViTs too."""

from __future__ import annotations

from typing import ClassVar, Literal, cast

from torch import nn

from sslight.backbones.masking import fix_positions
from sslight.errors import RefusedRunError
from sslight.losses.in_batch import moco_v3_loss
from sslight.module import SSLModule
from sslight.modules.ema import EMA
from sslight.modules.heads import mlp
from sslight.modules.multicrop import forward_crops
from sslight.optim import Recipe
from sslight.schedules import Cosine, Schedule
from sslight.types import Batch, StepOutput

#: What torchvision and timm call the projection of a transformer's patches.
_PATCH_EMBEDDINGS = ("conv_proj", "patch_embed")


class MoCoV3(SSLModule):
    """MoCo v3 (Chen et al., 2021, arXiv:2104.02057), algorithm 1.

    Queries are a backbone's, projector's and predictor's view of an image, keys those of a
    momentum average of backbone and projector. Each query finds the key of the other view among
    those of the global batch (gathered from all ranks, without gradient): cross-entropy times 2T,
    summed over both directions. After each optimizer step the teacher's parameters move with
    ``m = 1 - (1 - m0) (cos(pi k / K) + 1) / 2``. Evaluated is the online backbone.

    In a YAML: ``method: {name: moco_v3, temperature: 0.2}`` with two views from ``{name: byol}``;
    for a transformer, ``freeze_patch_embed: true, fixed_positions: true`` and AdamW; for a ResNet,
    ``layers: 2, predictor_last_bn: false``.

    Args:
        backbone: Maps images to ``[B, D]``.
        optim: The optimisation recipe.
        hidden_dim: Width of the hidden layers of projector and predictor.
        out_dim: Width of queries and keys.
        layers: Linear layers of the projector: the paper's 3; its ResNet-50 runs have 2.
        predictor_dim: Width of the predictor's hidden layer; None for ``hidden_dim``.
        predictor_last_bn: End the predictor with a batch norm, as the projector ends; the authors
            do so for transformers and not for ResNets.
        temperature: T; the authors' code has 0.2 for transformers and 1 for ResNets.
        momentum: m; a plain number stays constant.
        freeze_patch_embed: Keep the patch projection of a transformer at its random start, which
            prevents the instability that the paper finds.
        fixed_positions: A transformer's positions are fixed sines and cosines, as in the paper;
            otherwise they stay as they are and learn.

    Note:
        Both views share a pass, so batch norms see them together; the authors' code runs each view
        by itself. The patch projection's start is the backbone's own.
    """

    accumulation: ClassVar[Literal["exact", "approximate"]] = "approximate"
    default_views: ClassVar[str] = "byol"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        hidden_dim: int = 4096,
        out_dim: int = 256,
        layers: int = 3,
        predictor_dim: int | None = None,
        predictor_last_bn: bool = True,
        temperature: float = 0.2,
        momentum: float | Schedule = Cosine(0.99, 1.0),  # noqa: B008  a frozen dataclass
        freeze_patch_embed: bool = False,
        fixed_positions: bool = False,
    ) -> None:
        super().__init__(backbone, optim)
        if not temperature > 0:
            raise ValueError(f"moco_v3: temperature must be above 0, got {temperature}.")
        self.temperature = temperature
        if freeze_patch_embed:
            patch_embedding(self.backbone).requires_grad_(False)
        if fixed_positions:
            fix_positions(self.backbone)
        width = cast(int, self.backbone.embed_dim)
        self.projector = _head(width, hidden_dim, out_dim, layers)
        middle, end = predictor_dim or hidden_dim, predictor_last_bn
        self.predictor = _head(out_dim, middle, out_dim, 2, last_bn=end)
        self.teacher = EMA(nn.Sequential(self.backbone, self.projector), momentum)

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the symmetric contrastive loss between queries and keys of two views."""
        views = batch["views"]
        if len(views) != 2:
            raise RefusedRunError(
                f"moco_v3: compares two views, but the batch has {len(views)}. Use data.views: "
                "{name: byol}, or another preset with two views."
            )
        embedding = forward_crops(self.backbone, views)  # [2B, D]
        q1, q2 = self.predictor(self.projector(embedding)).chunk(2)  # [B, P] each
        k1, k2 = forward_crops(self.teacher, views).chunk(2)
        loss = moco_v3_loss((q1, q2), (k1, k2), self.temperature, gather=True)
        return StepOutput(loss, embedding=embedding)


def _head(
    in_dim: int, hidden_dim: int, out_dim: int, layers: int, *, last_bn: bool = True
) -> nn.Sequential:
    """Build a head without biases; a batch norm after its last layer has no scale and shift."""
    ends = {"last_bn": last_bn, "last_bias": False, "last_affine": False}
    return mlp(in_dim, hidden_dim, out_dim, layers, **ends)


def patch_embedding(backbone: nn.Module) -> nn.Module:
    """Find the module that projects a transformer's patches, wherever the backbone has it."""
    module: nn.Module
    for name, module in backbone.named_modules():
        if name.rpartition(".")[2] in _PATCH_EMBEDDINGS:
            return module
    raise RefusedRunError(
        f"moco_v3: freeze_patch_embed is on, but {type(backbone).__name__} has no patch embedding "
        f"(no module named {' or '.join(_PATCH_EMBEDDINGS)}). Set freeze_patch_embed: false, or "
        "use a vision transformer such as backbone: {name: vit_s_16}."
    )
