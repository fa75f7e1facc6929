"""SimMIM: predict the pixels of masked squares from all tokens, with one linear layer."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from sslight.backbones.inputs import image_channels
from sslight.backbones.masking import ensure_mask_token, fix_positions
from sslight.backbones.pooling import pooled
from sslight.losses.simmim import simmim_loss
from sslight.module import SSLModule
from sslight.modules.masking import mask_noise, square_masking
from sslight.optim import Recipe
from sslight.types import Batch, StepOutput


class SimMIM(SSLModule):
    """SimMIM (Xie et al., 2022, arXiv:2111.09886), section 3.

    Squares of the image, ``mask_ratio`` of them, are drawn at random and their patches replaced by
    a learnt mask token; all tokens go through the backbone, a linear layer on each patch token
    predicts its pixels, and the loss is the mean absolute error of the masked pixels. Evaluated is
    the backbone, on whole images.

    In a YAML: ``method: {name: simmim}`` with a ViT as backbone and views from ``{name: simmim}``.

    Args:
        backbone: A vision transformer; it gets a mask token if it has none.
        optim: The optimisation recipe.
        mask_ratio: Share of masked squares, rounded up to whole ones.
        mask_unit: Side of a square in pixels, a multiple of the patch size that divides the
            image's; null for two patches, the published 32 pixels with patches of 16.
        norm_window: Predict each pixel normalised by mean and deviation of the square around it, of
            this side in pixels (odd), instead of its value; 47 in the authors' later trainings.
        fixed_positions: The backbone's positions are fixed sines and cosines, as MAE's, instead of
            its own learnt ones. In short trainings those say too little of where a masked patch is.

    Note:
        ``embedding`` (for probes during training) is that of the masked image, which costs nothing
        but has lost most of its pixels; kNN, extract and export use whole images. The authors' ViT
        has relative position biases; here, positions are the backbone's own, learnt and absolute.
    """

    needs_tokens: ClassVar[bool] = True
    default_views: ClassVar[str] = "simmim"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        mask_ratio: float = 0.6,
        mask_unit: int | None = None,
        norm_window: int | None = None,
        fixed_positions: bool = False,
    ) -> None:
        super().__init__(backbone, optim)
        if not 0 < mask_ratio <= 1:
            raise ValueError(f"simmim: mask_ratio is {mask_ratio}; it is a share in (0, 1].")
        if norm_window is not None and (norm_window < 3 or norm_window % 2 == 0):
            raise ValueError(f"simmim: norm_window is {norm_window}; it is odd, from 3 pixels on.")
        self.norm_window = norm_window
        patch = self.backbone.patch_size
        self.mask_ratio, self.mask_unit = mask_ratio, mask_unit or 2 * patch
        if self.mask_unit % patch:
            raise ValueError(
                f"simmim: mask_unit is {mask_unit} pixels, which is no multiple of the patch size "
                f"{patch}; a square must hold whole patches."
            )
        ensure_mask_token(self.backbone)
        if fixed_positions:
            fix_positions(self.backbone)
        self.head = nn.Linear(self.backbone.embed_dim, patch**2 * image_channels(self.backbone))

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the error of the masked pixels, over all views (of one size) of the batch."""
        images = torch.cat(batch["views"])  # [VB, C, H, W]
        mask = self._mask(images, batch["index"], len(batch["views"]))  # [VB, P]
        tokens = self.backbone.tokens(images, mask)  # [VB, n_prefix + P, D]
        prediction = self.head(tokens[:, self.backbone.n_prefix :])  # [VB, P, pixels]
        patch, window = self.backbone.patch_size, self.norm_window
        loss = simmim_loss(prediction, images, mask, patch, window=window)
        return StepOutput(loss, embedding=pooled(self.backbone, tokens))

    def _mask(self, images: Tensor, index: Tensor, views: int) -> Tensor:
        grid = self.backbone.grid(images)
        unit = self.mask_unit // self.backbone.patch_size
        if grid[0] % unit or grid[1] % unit:
            raise ValueError(
                f"simmim: views of {images.shape[-2]} x {images.shape[-1]} pixels cannot be cut "
                f"into squares of {self.mask_unit}. Set method.mask_unit, or the size in "
                "data.views, so that one divides the other."
            )
        squares = grid[0] // unit * (grid[1] // unit)
        noise = mask_noise(self.seed, self.clock.epoch, index, views, squares)
        return square_masking(noise.to(images.device), grid, unit, self.mask_ratio)
