"""MAE: encode a quarter of an image's patches, and predict the pixels of the others."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from sslight.backbones.inputs import image_channels
from sslight.backbones.masking import fix_positions
from sslight.backbones.pooling import pooled
from sslight.losses.mae import mae_loss
from sslight.module import SSLModule
from sslight.modules.mae_decoder import MAEDecoder
from sslight.modules.masking import mask_noise, random_masking
from sslight.optim import Recipe
from sslight.types import Batch, StepOutput


class MAE(SSLModule):
    """MAE (He et al., 2022, arXiv:2111.06377), section 3.

    Each image keeps ``floor(P (1 - mask_ratio))`` of its P patches, drawn at random; only these go
    through the backbone. A small transformer, given mask tokens for the others, predicts the pixels
    of every patch, and the loss is the mean squared error of the hidden ones. Evaluated is the
    backbone, on whole images; the decoder is thrown away.

    In a YAML: ``method: {name: mae}`` with a ViT as backbone and views from ``{name: mae}``.

    Args:
        backbone: A vision transformer that can leave patches out (sslight's, or a plain ViT of
            timm's).
        optim: The optimisation recipe.
        mask_ratio: Share of hidden patches.
        norm_pix: Predict each patch normalised by its own mean and variance (the paper's better
            target); otherwise the pixels as the views have them.
        decoder_dim: Width of the decoder.
        decoder_depth: Blocks of the decoder; its positions are fixed sines and cosines.
        decoder_heads: Attention heads of the decoder.
        fixed_positions: The backbone's positions are fixed sines and cosines too, as in the paper;
            otherwise they stay as they are and learn.

    Note:
        ``embedding`` (for probes during training) pools the *visible* tokens only, which costs
        nothing but sees a quarter of each image: probes on it are pessimistic, while kNN, extract
        and export use whole images. The decoder starts from Xavier-uniform weights, as the
        authors'; their encoder does too: ``backbone: {init: xavier}``, not sslight's default.
    """

    needs_tokens: ClassVar[bool] = True
    default_views: ClassVar[str] = "mae"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        mask_ratio: float = 0.75,
        norm_pix: bool = True,
        decoder_dim: int = 512,
        decoder_depth: int = 8,
        decoder_heads: int = 16,
        fixed_positions: bool = True,
    ) -> None:
        super().__init__(backbone, optim)
        if not 0 < mask_ratio < 1:
            raise ValueError(f"mae: mask_ratio is {mask_ratio}; it is a share in (0, 1).")
        self.mask_ratio, self.norm_pix = mask_ratio, norm_pix
        if fixed_positions:
            fix_positions(self.backbone)
        pixels = self.backbone.patch_size**2 * image_channels(self.backbone)
        self.decoder = MAEDecoder(
            self.backbone.embed_dim, decoder_dim, decoder_depth, decoder_heads, pixels
        )

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the error of the hidden patches, over all views (of one size) of the batch."""
        images = torch.cat(batch["views"])  # [VB, C, H, W]
        grid = self.backbone.grid(images)
        noise = mask_noise(
            self.seed, self.clock.epoch, batch["index"], len(batch["views"]), grid[0] * grid[1]
        )
        keep, mask = random_masking(noise.to(images.device), self.mask_ratio)
        tokens = self.backbone.tokens(images, keep=keep)  # [VB, n_prefix + K, D]
        prediction = self.decoder(tokens, keep, grid)  # [VB, P, pixels]
        loss = mae_loss(prediction, images, mask, self.backbone.patch_size, norm_pix=self.norm_pix)
        return StepOutput(loss, embedding=pooled(self.backbone, tokens))
