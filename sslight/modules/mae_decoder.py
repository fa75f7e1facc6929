"""The decoder of a masked autoencoder: visible tokens to the pixels of all patches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sslight.modules.positions import sincos_positions
from sslight.modules.transformer import NORM_EPS, Block, init_xavier


class MAEDecoder(nn.Module):
    """A small transformer over all patches (He et al., 2022, arXiv:2111.06377, section 3).

    Encoded visible patches go back to their places, a learnt mask token fills the others, fixed
    sin-cos positions are added, and after the blocks a linear layer predicts each patch's pixels.
    Prefix tokens (class, registers) take part without a position.

    Args:
        in_dim: Width of the encoder's tokens.
        dim: Width of the decoder, a multiple of 4 and of ``heads``.
        depth: Number of blocks.
        heads: Attention heads.
        out_dim: Values per patch: pixels times channels.
    """

    def __init__(self, in_dim: int, dim: int, depth: int, heads: int, out_dim: int) -> None:
        super().__init__()
        self.embed = nn.Linear(in_dim, dim)
        self.mask_token = nn.Parameter(torch.empty(1, 1, dim))
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.head = nn.Linear(dim, out_dim)
        self.apply(init_xavier)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, tokens: Tensor, keep: Tensor, grid: tuple[int, int]) -> Tensor:
        """Predict ``[B, P, out_dim]``.

        Args:
            tokens: The encoder's ``[B, n_prefix + K, in_dim]``, prefix tokens first.
            keep: ``[B, K]`` int64: the patches they stand for.
            grid: Rows and columns of patches.
        """
        x = self.embed(tokens)
        prefix, visible = x.split([x.shape[1] - keep.shape[1], keep.shape[1]], dim=1)
        places = keep[:, :, None].expand(-1, -1, x.shape[2])
        patches = self.mask_token.to(x.dtype).expand(len(x), grid[0] * grid[1], -1)
        patches = patches.scatter(1, places, visible)
        positions = sincos_positions(*grid, x.shape[2], device=x.device)
        patches = patches + positions.to(self.mask_token.dtype)
        x = torch.cat([prefix, patches], dim=1)
        for block in self.blocks:
            x = block(x)
        pixels: Tensor = self.head(self.norm(x[:, prefix.shape[1] :]))
        return pixels
