"""Patch tokens of timm's transformers: masked, dropped, read block by block, by hooks."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sslight.backbones.masking import apply_mask, keep_patches, new_mask_token
from sslight.modules.positions import fill_with_sincos


def has_tokens(model: nn.Module) -> bool:
    """Whether this timm model is a transformer with patch tokens."""
    return hasattr(model, "patch_embed") and hasattr(model, "num_prefix_tokens")


def add_tokens(model: Any, mask_token: bool) -> None:
    """Give a timm transformer what sslight's own has: ``tokens``, ``block_outputs`` and so on."""
    model.n_prefix = int(model.num_prefix_tokens)
    model.patch_size = int(model.patch_embed.patch_size[0])
    if not hasattr(model, "mask_token"):
        model.register_parameter(
            "mask_token", new_mask_token(model.embed_dim) if mask_token else None
        )
    for function in (tokens, block_outputs, grid, fix_positions):
        # A partial survives deepcopy and pickle; a method bound by hand would not.
        setattr(model, function.__name__, functools.partial(function, model))


def grid(model: Any, images: Tensor) -> tuple[int, int]:
    """Rows and columns of patches in images ``[B, C, H, W]``."""
    return images.shape[-2] // model.patch_size, images.shape[-1] // model.patch_size


def tokens(
    model: Any, images: Tensor, mask: Tensor | None = None, keep: Tensor | None = None
) -> Tensor:
    """All tokens after the last norm, prefix tokens first: ``[B, n_prefix + P, D]``."""
    with _patches_changed(model, mask, keep):
        out: Tensor = model.forward_features(images)
    return out


def fix_positions(model: Any) -> None:
    """Replace the position embeddings by fixed sines and cosines (0 for prefix tokens)."""
    table = getattr(model, "pos_embed", None)
    if table is None:
        raise ValueError(f"timm's {type(model).__name__} has no position embeddings to fix.")
    fill_with_sincos(table, model.patch_embed.grid_size)


def block_outputs(
    model: Any, images: Tensor, last: int, mask: Tensor | None = None, keep: Tensor | None = None
) -> list[Tensor]:
    """What the ``last`` last blocks put out, before the final norm, in order."""
    outputs: list[Tensor] = []
    blocks = model.blocks[len(model.blocks) - last :]
    with ExitStack() as hooks:
        for block in blocks:
            hooks.callback(
                block.register_forward_hook(lambda m, i, output: outputs.append(output)).remove
            )
        tokens(model, images, mask, keep)
    return outputs


@contextmanager
def _patches_changed(model: Any, mask: Tensor | None, keep: Tensor | None) -> Iterator[None]:
    """Hooks that put mask tokens among the patch embeddings and leave out what is not kept."""

    def masked(module: nn.Module, inputs: Any, patches: Tensor) -> Tensor:
        flat = patches.flatten(1, 2) if patches.ndim == 4 else patches  # [B, h, w, D] -> [B, P, D]
        return apply_mask(flat, mask, model.mask_token).view_as(patches)

    def kept(module: nn.Module, inputs: Any, x: Tensor) -> Tensor:
        prefix, patches = x[:, : model.n_prefix], x[:, model.n_prefix :]
        return torch.cat([prefix, keep_patches(patches, keep)], dim=1)

    with ExitStack() as hooks:
        if mask is not None:
            hooks.callback(model.patch_embed.register_forward_hook(masked).remove)
        if keep is not None:
            _check_can_keep(model)
            hooks.callback(model.patch_drop.register_forward_hook(kept).remove)
        yield


def _check_can_keep(model: Any) -> None:
    """Only where positions are added once, before the blocks, may patches be left out behind."""
    from timm.models.vision_transformer import VisionTransformer

    if not isinstance(model, VisionTransformer):
        raise ValueError(
            f"tokens(images, keep=...): timm's {type(model).__name__} cannot run on some of its "
            "patches only. Use a plain ViT of timm's, or sslight's vit_s_16, vit_b_16, ..."
        )
