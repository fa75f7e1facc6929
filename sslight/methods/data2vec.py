"""data2vec: predict, from a masked image, what a momentum teacher makes of the whole one."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from sslight.backbones.masking import ensure_mask_token, fix_positions
from sslight.backbones.pooling import pooled
from sslight.losses.token_regression import masked_smooth_l1, normalised_tokens
from sslight.module import SSLModule
from sslight.modules.ema import EMA
from sslight.optim import Recipe
from sslight.schedules import Schedule
from sslight.types import Batch, StepOutput


class Data2Vec(SSLModule):
    """data2vec (Baevski et al., 2022, arXiv:2202.03555), eq. 1 to 3, for images.

    The backbone sees a view with the mask token in place of masked patches, and a linear layer maps
    its patch tokens to predictions. The teacher, a momentum average of the backbone in eval mode,
    sees the whole view; a target is the mean of the outputs of its last K blocks, each
    layer-normalised without learnt parameters. The loss is smooth L1, averaged over the masked
    patches of all ranks. Evaluated is the teacher.

    In a YAML: ``method: {name: data2vec}`` with views from ``{name: data2vec, patch_size: 16}`` and
    a vision transformer, preferably with ``pooling: avg``.

    Args:
        backbone: A vision transformer; it gets a mask token.
        optim: The optimisation recipe.
        momentum: tau, constant for images in the paper.
        target_blocks: K.
        beta: Where the loss turns from a parabola to a line.
        normalize_average: Layer-normalise the mean of the blocks once more, as the authors'
            commands for ImageNet do.
        fixed_positions: The backbone's positions are fixed sines and cosines, as MAE's, instead of
            its own learnt ones. In short trainings those say too little of where a masked patch is.

    Note:
        The paper shares patch and position embeddings between student and teacher, to save memory;
        here the teacher averages all parameters. It prefers outputs of blocks before their last
        residual connection; as in its public code for images, they are taken after it. With a
        range of mask ratios, micro-batches of an accumulated step weigh the same, however many of
        their patches are masked.
    """

    needs: ClassVar[tuple[str, ...]] = ("views", "masks")
    needs_tokens: ClassVar[bool] = True
    default_views: ClassVar[str] = "data2vec"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        momentum: float | Schedule = 0.9998,
        target_blocks: int = 6,
        beta: float = 2.0,
        normalize_average: bool = False,
        fixed_positions: bool = False,
    ) -> None:
        super().__init__(backbone, optim)
        if target_blocks < 1 or not beta > 0:
            raise ValueError(
                f"data2vec: target_blocks must be 1 or more and beta above 0, got {target_blocks} "
                f"and {beta}."
            )
        self.target_blocks, self.beta = target_blocks, beta
        self.normalize_average = normalize_average
        ensure_mask_token(self.backbone)
        if fixed_positions:
            fix_positions(self.backbone)
        dim = cast(int, self.backbone.embed_dim)
        self.predictor = nn.Linear(dim, dim)
        self.teacher = EMA(self.backbone, momentum, eval_mode=True)

    @property
    def eval_backbone(self) -> nn.Module:
        """The teacher's backbone."""
        return self.teacher.teacher

    def training_loss(self, batch: Batch) -> StepOutput:
        """Regress the teacher's targets at the masked patches."""
        masks = batch["masks"]
        images = torch.cat(batch["views"][: len(masks)])  # [VB, C, H, W]
        mask = torch.cat(masks)  # [VB, P]
        tokens = self.backbone.tokens(images, mask=mask)[:, self.backbone.n_prefix :]
        targets, embedding = self._targets(images)
        loss = masked_smooth_l1(self.predictor(tokens), targets, mask, self.beta, gather=True)
        return StepOutput(loss, embedding=embedding)

    @torch.no_grad()
    def _targets(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the targets ``[VB, P, D]`` and the teacher's embeddings ``[VB, D]``."""
        teacher: Any = self.teacher.teacher
        outputs = teacher.block_outputs(images, self.target_blocks)
        embedding = pooled(teacher, teacher.norm(outputs[-1]))
        patches = [normalised_tokens(output[:, teacher.n_prefix :]) for output in outputs]
        targets = torch.stack(patches).mean(0)
        return normalised_tokens(targets) if self.normalize_average else targets, embedding
