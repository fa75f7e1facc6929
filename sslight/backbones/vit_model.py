"""sslight's vision transformer: a timm-compatible ViT that masks, drops and counts its tokens."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from sslight.backbones.masking import apply_mask, keep_patches, new_mask_token
from sslight.backbones.pooling import pooled
from sslight.modules.positions import fill_with_sincos, resized_grid
from sslight.modules.transformer import NORM_EPS, Block, MlpKind, init_linear, init_xavier

#: How weights start: normal with deviation 0.02 (timm, DINO, BEiT), or Xavier-uniform (MAE).
Init = Literal["normal", "xavier"]


class PatchEmbed(nn.Module):
    """Patches to tokens, ``[B, C, H, W] -> [B, P, D]``, row by row."""

    def __init__(self, in_channels: int, dim: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """Embed every patch."""
        tokens: Tensor = self.proj(images).flatten(2).transpose(1, 2)
        return tokens


class VisionTransformer(nn.Module):
    """ViT (Dosovitskiy et al., 2021, arXiv:2010.11929) without a classifier.

    The sequence is class token, registers (Darcet et al., 2024, arXiv:2309.16588), patches row by
    row. Parameter names and numerics are those of timm's ``VisionTransformer``; as there, the class
    token has a position embedding of its own unless there are registers. Images of any size that
    the patch size divides are taken: position embeddings are interpolated (bicubic, not
    antialiased) to their grid.

    Linear weights, tokens and position embeddings start from a normal distribution of deviation
    0.02, biases at 0, and the patch projection as torch starts a convolution (which follows the
    number of pixels in a patch), with a bias of 0. With ``init="xavier"`` linear weights and the
    patch projection are Xavier-uniform, as in MAE.

    Args:
        image_size: Side of the images whose grid the position embeddings have.
        patch_size: Side of a patch in pixels.
        width: D.
        depth: Number of blocks.
        heads: Attention heads.
        in_channels: Channels of the images.
        registers: Number of register tokens.
        class_token: Have a class token.
        pooling: What ``forward`` gives: the class token or the mean of the patch tokens, both after
            the last norm.
        dropout: Rate behind the attention and each linear layer of the MLPs.
        attention_drop: Rate of the attention's weights.
        drop_path: Stochastic-depth rate of the last block, linear from 0.
        drop_path_uniform: Give all blocks that rate.
        layer_scale: Initial value of the branches' factors; None for none.
        mask_token: Have the learnt token that ``tokens(images, mask)`` puts in masked places.
        mlp: Kind of the blocks' MLPs.
        init: How weights start, see above.
    """

    mask_token: nn.Parameter | None

    def __init__(
        self,
        *,
        image_size: int,
        patch_size: int,
        width: int,
        depth: int,
        heads: int,
        in_channels: int = 3,
        registers: int = 0,
        class_token: bool = True,
        pooling: Literal["cls", "avg"] = "cls",
        dropout: float = 0.0,
        attention_drop: float = 0.0,
        drop_path: float = 0.0,
        drop_path_uniform: bool = False,
        layer_scale: float | None = None,
        mask_token: bool = False,
        mlp: MlpKind = "gelu",
        init: Init = "normal",
    ) -> None:
        super().__init__()
        if pooling == "cls" and not class_token:
            raise ValueError("vit: pooling is 'cls', but class_token is false; use pooling: avg.")
        self.image_size, self.patch_size, self.embed_dim = image_size, patch_size, width
        self.pooling = pooling
        self.n_prefix = int(class_token) + registers
        self.grid_size = (image_size // patch_size, image_size // patch_size)
        self._prefix_positions = int(class_token and not registers)
        positions = self._prefix_positions + self.grid_size[0] * self.grid_size[1]

        self.cls_token = nn.Parameter(torch.empty(1, 1, width)) if class_token else None
        self.reg_token = nn.Parameter(torch.empty(1, registers, width)) if registers else None
        self.pos_embed = nn.Parameter(torch.empty(1, positions, width))
        self.register_parameter("mask_token", new_mask_token(width) if mask_token else None)
        self.patch_embed = PatchEmbed(in_channels, width, patch_size)
        self.blocks = nn.ModuleList(
            Block(
                width,
                heads,
                dropout=dropout,
                attention_drop=attention_drop,
                drop_path=drop_path * (1 if drop_path_uniform else i / max(depth - 1, 1)),
                layer_scale=layer_scale,
                mlp=mlp,
            )
            for i in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.init_weights(init)

    def init_weights(self, init: Init) -> None:
        """Draw all weights but the mask token, and unless ``xavier`` the patch projection's."""
        if init == "xavier":
            self.apply(init_xavier)
            nn.init.xavier_uniform_(self.patch_embed.proj.weight.flatten(1))
        else:
            self.apply(init_linear)
        nn.init.zeros_(self.patch_embed.proj.bias)  # type: ignore[arg-type]
        for token in (self.cls_token, self.reg_token, self.pos_embed):
            if token is not None:
                nn.init.trunc_normal_(token, std=0.02)

    def fix_positions(self) -> None:
        """Replace the position embeddings by fixed sines and cosines (0 for the class token)."""
        fill_with_sincos(self.pos_embed, self.grid_size)

    def grid(self, images: Tensor) -> tuple[int, int]:
        """Rows and columns of patches in images ``[B, C, H, W]``.

        Raises:
            ValueError: the patch size does not divide height and width.
        """
        height, width = images.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"vit: images of {height} x {width} pixels cannot be cut into patches of "
                f"{self.patch_size} x {self.patch_size}. Use sizes that are multiples of "
                f"{self.patch_size}, or another patch_size."
            )
        return height // self.patch_size, width // self.patch_size

    def tokens(
        self, images: Tensor, mask: Tensor | None = None, keep: Tensor | None = None
    ) -> Tensor:
        """All tokens after the last norm, prefix tokens first: ``[B, n_prefix + P, D]``.

        Args:
            images: ``[B, C, H, W]``.
            mask: ``[B, P]``, true where the mask token replaces a patch, before its position is
                added.
            keep: ``[B, K]`` int64: only these patches go through the blocks, in this order, and
                the result is ``[B, n_prefix + K, D]``.
        """
        x = self._embed(images, mask, keep)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x)
        return out

    def block_outputs(
        self, images: Tensor, last: int, mask: Tensor | None = None, keep: Tensor | None = None
    ) -> list[Tensor]:
        """What the ``last`` last blocks put out, before the final norm, in order.

        Each is ``[B, n_prefix + P, D]``; ``mask`` and ``keep`` as in :meth:`tokens`.
        """
        if not 1 <= last <= len(self.blocks):
            raise ValueError(
                f"vit: block_outputs(last={last}); there are {len(self.blocks)} blocks, so give 1 "
                f"to {len(self.blocks)}."
            )
        x, outputs = self._embed(images, mask, keep), []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return outputs[-last:]

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings ``[B, D]``: the class token, or the mean of the patch tokens."""
        return pooled(self, self.tokens(images))

    def _embed(self, images: Tensor, mask: Tensor | None, keep: Tensor | None) -> Tensor:
        """The sequence that enters the first block."""
        first = self._prefix_positions
        grid = self.grid(images)
        positions = resized_grid(self.pos_embed[:, first:], self.grid_size, grid)
        patches = apply_mask(self.patch_embed(images), mask, self.mask_token)
        patches = keep_patches(patches + positions, keep)
        cls: Tensor | None = self.cls_token
        if cls is not None and first:
            cls = cls + self.pos_embed[:, :1]
        prefix = [token for token in (cls, self.reg_token) if token is not None]
        # shape[0], not len(): traced graphs (ONNX, torch.export) keep the batch size open.
        rows = [token.expand(images.shape[0], -1, -1).to(patches.dtype) for token in prefix]
        return torch.cat([*rows, patches], dim=1)
