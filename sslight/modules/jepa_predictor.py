"""I-JEPA's predictor: from the tokens of a context to those of blocks elsewhere in the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sslight.modules.positions import sincos_positions
from sslight.modules.transformer import NORM_EPS, Block, init_linear


class JepaPredictor(nn.Module):
    """A narrow transformer (Assran et al., 2023, arXiv:2301.08243, section 3 and appendix A.1).

    Each block is predicted by itself: a learnt token stands for every one of its patches, fixed
    sin-cos positions are added to these and to the context's tokens, and all of them attend to each
    other. Entries that only fill a block up are not attended to.

    Args:
        in_dim: Width of the encoder's tokens, and of the predictions.
        dim: Width of the predictor, a multiple of 4 and of ``heads``.
        depth: Number of transformer layers.
        heads: Attention heads.
    """

    def __init__(self, in_dim: int, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.embed = nn.Linear(in_dim, dim)
        self.mask_token = nn.Parameter(torch.empty(1, 1, 1, dim))
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.head = nn.Linear(dim, in_dim)
        self.apply(init_linear)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(
        self,
        tokens: Tensor,
        context: Tensor,
        targets: Tensor,
        valid: Tensor,
        grid: tuple[int, int],
    ) -> Tensor:
        """Predict ``[B, M, Kt, in_dim]``.

        Args:
            tokens: The encoder's ``[B, K, in_dim]``, without prefix tokens.
            context: ``[B, K]`` int64: the patches they stand for.
            targets: ``[B, M, Kt]`` int64: the patches of M blocks.
            valid: ``[B, M, Kt]``, False where a block is filled up.
            grid: Rows and columns of patches.
        """
        (batch, blocks, size), kept = targets.shape, context.shape[1]
        positions = sincos_positions(*grid, self.mask_token.shape[-1], device=tokens.device)
        positions = positions.to(self.mask_token.dtype)
        known = self.embed(tokens) + positions[context]  # [B, K, d]
        asked = self.mask_token + positions[targets]  # [B, M, Kt, d]
        known = known[:, None].expand(-1, blocks, -1, -1)
        x = torch.cat([known, asked.to(known.dtype)], dim=2).flatten(0, 1)  # [BM, K + Kt, d]
        seen = torch.cat([valid.new_ones(batch, blocks, kept), valid], dim=2).flatten(0, 1)
        for block in self.blocks:
            x = block(x, seen)
        out: Tensor = self.head(self.norm(x[:, kept:]))
        return out.view(batch, blocks, size, -1)
