"""I-JEPA: predict the representations of blocks of an image from those of another block."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sslight.backbones.masking import fix_positions
from sslight.backbones.pooling import pooled
from sslight.errors import RefusedRunError
from sslight.losses.token_regression import block_smooth_l1, normalised_tokens
from sslight.module import SSLModule
from sslight.modules.ema import EMA
from sslight.modules.jepa_predictor import JepaPredictor
from sslight.optim import Recipe
from sslight.schedules import Linear, Schedule
from sslight.types import Batch, StepOutput


class IJEPA(SSLModule):
    """I-JEPA (Assran et al., 2023, arXiv:2301.08243), section 3, eq. 1.

    The backbone encodes the patches of a context block only, and a narrow transformer predicts from
    them the tokens of four target blocks. Targets are the tokens of the whole image from a momentum
    average of the backbone, layer-normalised without learnt parameters. Evaluated is that average.

    In a YAML: ``method: {name: ijepa}`` with views from ``{name: ijepa, patch_size: 16}`` and a
    vision transformer with ``class_token: false, pooling: avg``, as in the paper.

    Args:
        backbone: A vision transformer that can leave patches out (sslight's, or a plain ViT of
            timm's).
        optim: The optimisation recipe.
        momentum: Of the teacher; a plain number stays constant.
        predictor_dim: Width of the predictor.
        predictor_depth: Transformer layers of the predictor; the paper has 6 for a ViT-B.
        predictor_heads: Attention heads of the predictor; the paper has as many as the backbone.
        beta: Where the loss turns from a parabola to a line.
        fixed_positions: The backbone's positions are fixed sines and cosines, as in the paper;
            otherwise they stay as they are and learn.

    Note:
        Contexts and targets differ from the authors' code, see
        :class:`sslight.augment.jepa_masks.JepaMasks`. A class token takes part in the encoder but
        is neither predicted nor given to the predictor. The authors divide the last layers of all
        blocks at the start by the root of twice their depth; here all linear layers start alike.
        They also start the patch projection at deviation 0.02; here it starts as torch has it.
    """

    needs: ClassVar[tuple[str, ...]] = ("views", "context", "targets", "target_valid", "mask_grid")
    needs_tokens: ClassVar[bool] = True
    default_views: ClassVar[str] = "ijepa"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        momentum: float | Schedule = Linear(0.996, 1.0),  # noqa: B008  a frozen dataclass
        predictor_dim: int = 384,
        predictor_depth: int = 12,
        predictor_heads: int = 12,
        beta: float = 1.0,
        fixed_positions: bool = True,
    ) -> None:
        super().__init__(backbone, optim)
        if not beta > 0:
            raise ValueError(f"ijepa: beta must be above 0, got {beta}.")
        self.beta = beta
        if fixed_positions:
            fix_positions(self.backbone)
        self.predictor = JepaPredictor(
            self.backbone.embed_dim, predictor_dim, predictor_depth, predictor_heads
        )
        self.teacher = EMA(self.backbone, momentum, eval_mode=True)

    @property
    def eval_backbone(self) -> nn.Module:
        """The teacher's backbone."""
        return self.teacher.teacher

    def training_loss(self, batch: Batch) -> StepOutput:
        """Regress the teacher's tokens of all target blocks."""
        images, grid = batch["views"][0], self._grid(batch)
        context, blocks, valid = batch["context"], batch["targets"], batch["target_valid"]
        tokens = self.backbone.tokens(images, keep=context)[:, self.backbone.n_prefix :]
        prediction = self.predictor(tokens, context, blocks, valid, grid)  # [B, M, Kt, D]
        targets, embedding = self._targets(images, blocks)
        loss = block_smooth_l1(prediction, targets, valid, self.beta)
        return StepOutput(loss, embedding=embedding)

    @torch.no_grad()
    def _targets(self, images: Tensor, blocks: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the targets ``[B, M, Kt, D]`` and the teacher's embeddings ``[B, D]``."""
        teacher: Any = self.teacher.teacher
        tokens = teacher.tokens(images)
        patches = normalised_tokens(tokens[:, teacher.n_prefix :])  # [B, P, D]
        places = blocks.flatten(1)[:, :, None].expand(-1, -1, patches.shape[2])
        return patches.gather(1, places).view(*blocks.shape, -1), pooled(teacher, tokens)

    def _grid(self, batch: Batch) -> tuple[int, int]:
        """Return the backbone's grid, after checking that the blocks were drawn on it."""
        rows, columns = self.backbone.grid(batch["views"][0])
        drawn = batch["mask_grid"]
        if (rows, columns) != (drawn, drawn):
            raise RefusedRunError(
                f"ijepa: the blocks were drawn for {drawn} x {drawn} patches, but the backbone "
                f"makes {rows} x {columns} of a view. Give data.views the backbone's patch_size."
            )
        return rows, columns
