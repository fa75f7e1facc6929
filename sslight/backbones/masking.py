"""What masked methods ask of a transformer: a token for hidden patches, and fixed positions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sslight.backbones.spec import spec_of
from sslight.errors import RefusedRunError


def new_mask_token(dim: int, like: Tensor | None = None) -> nn.Parameter:
    """A learnt token ``[1, 1, D]``, normal with deviation 0.02; device and type as ``like``."""
    empty = torch.empty(1, 1, dim) if like is None else like.new_empty(1, 1, dim)
    return nn.Parameter(nn.init.trunc_normal_(empty, std=0.02))


def ensure_mask_token(backbone: Any) -> None:
    """Give a transformer the token that ``tokens(images, mask)`` needs, if it has none.

    A method that masks calls this in its constructor, so that nobody need write ``mask_token`` in
    the backbone's arguments; other methods leave it away, for a parameter that never gets a
    gradient is an error under DDP. The backbone's spec tells of it, so files can rebuild it.
    """
    if getattr(backbone, "mask_token", None) is not None:
        return
    first = next(iter(backbone.parameters()))
    backbone.register_parameter("mask_token", new_mask_token(backbone.embed_dim, first))
    spec = spec_of(backbone)
    if spec is not None:
        backbone.backbone_spec = replace(spec, kwargs={**spec.kwargs, "mask_token": True})


def fix_positions(backbone: Any) -> None:
    """Replace a transformer's position embeddings by fixed sines and cosines.

    Raises:
        RefusedRunError: The backbone cannot.
    """
    fix = getattr(backbone, "fix_positions", None)
    if fix is None:
        raise RefusedRunError(
            f"{type(backbone).__name__} has no fix_positions(), so its positions cannot be made "
            "fixed. Set method.fixed_positions: false, or use a ViT of sslight."
        )
    fix()


def apply_mask(patches: Tensor, mask: Tensor | None, token: Tensor | None) -> Tensor:
    """Put the mask token in place of the patch embeddings ``[B, P, D]`` where ``mask`` is true."""
    if mask is None:
        return patches
    if token is None:
        raise ValueError(
            "tokens(images, mask): this backbone has no mask token. Build it with mask_token=True, "
            "or call sslight.backbones.masking.ensure_mask_token(backbone) in the method."
        )
    if mask.shape != patches.shape[:2]:
        raise ValueError(
            f"tokens(images, mask): mask has shape {tuple(mask.shape)}, but there are "
            f"{patches.shape[1]} patches in each of {patches.shape[0]} images. Give data.views the "
            "backbone's patch_size."
        )
    return torch.where(mask.bool().unsqueeze(-1), token.to(patches.dtype), patches)


def keep_patches(patches: Tensor, keep: Tensor | None) -> Tensor:
    """Take the patches ``keep`` ``[B, K]`` (int64) of each row of ``[B, P, D]``, in that order."""
    if keep is None:
        return patches
    if keep.ndim != 2 or len(keep) != len(patches) or keep.dtype != torch.int64:
        raise ValueError(
            f"tokens(images, keep=...): keep is {keep.dtype} of shape {tuple(keep.shape)}; it must "
            f"be int64 [B, K]: the patches to keep of each of {len(patches)} images."
        )
    return patches.gather(1, keep[:, :, None].expand(-1, -1, patches.shape[2]))
