"""Vision transformers: torchvision's, with any channels, patch tokens and a mask token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import vision_transformer as tv

from sslight.backbones.common import finish, set_in_channels, torchvision_weights
from sslight.backbones.spec import bind, check_extra

# name: patch size, layers, heads, width, width of the MLP
_CONFIGS: dict[str, tuple[int, int, int, int, int]] = {
    "vit_t_16": (16, 12, 3, 192, 768),
    "vit_s_16": (16, 12, 6, 384, 1536),
    "vit_b_16": (16, 12, 12, 768, 3072),
    "vit_b_32": (32, 12, 12, 768, 3072),
    "vit_l_16": (16, 24, 16, 1024, 4096),
    "vit_l_32": (32, 24, 16, 1024, 4096),
    "vit_h_14": (14, 32, 16, 1280, 5120),
}


def apply_mask(patches: Tensor, mask: Tensor | None, token: Tensor | None) -> Tensor:
    """Put the mask token in place of the patch embeddings ``[B, P, D]`` where ``mask`` is true."""
    if mask is None:
        return patches
    if token is None:
        raise ValueError(
            "tokens(images, mask): this backbone has no mask token. Build it with mask_token=True."
        )
    if mask.shape != patches.shape[:2]:
        raise ValueError(
            f"tokens(images, mask): mask has shape {tuple(mask.shape)}, but there are "
            f"{patches.shape[1]} patches in each of {patches.shape[0]} images."
        )
    return torch.where(mask.bool().unsqueeze(-1), token.to(patches.dtype), patches)


class VisionTransformer(tv.VisionTransformer):  # type: ignore[misc]
    """torchvision's ViT without classifier; parameter names are torchvision's.

    ``n_prefix`` tokens (the class token) stand before the patch tokens.
    """

    n_prefix = 1
    mask_token: nn.Parameter | None

    def tokens(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        """All tokens after the last norm, class token first: ``[B, 1 + P, D]``.

        Args:
            images: ``[B, C, H, W]``.
            mask: ``[B, P]``, true where a patch is replaced by the mask token.
        """
        patches = apply_mask(self._process_input(images), mask, self.mask_token)
        cls = self.class_token.expand(len(patches), -1, -1)
        out: Tensor = self.encoder(torch.cat([cls, patches], dim=1))
        return out

    def forward(self, images: Tensor) -> Tensor:
        """The class token ``[B, D]``."""
        return self.tokens(images)[:, 0]


def vit(
    arch: str,
    *,
    image_size: int = 224,
    patch_size: int | None = None,
    depth: int | None = None,
    in_channels: int = 3,
    dropout: float = 0.0,
    mask_token: bool = False,
    weights: str | None = None,
    checkpoint_blocks: int = 0,
    extra: dict[str, Any] | None = None,
) -> nn.Module:
    """A vision transformer without its classifier; the embedding is the class token.

    Args:
        arch: Name of the architecture.
        image_size: Side of the images in pixels; a multiple of the patch size.
        patch_size: Side of a patch in pixels; default the architecture's.
        depth: Number of blocks; default the architecture's.
        in_channels: Channels of the images.
        dropout: Dropout rate inside the blocks.
        mask_token: Add the learnt token that ``tokens(images, mask)`` puts in masked places.
        weights: A torchvision weights name; position embeddings are resized to ``image_size``.
        checkpoint_blocks: Recompute the activations of this many blocks (0 = keep all).
        extra: Further arguments of ``torchvision.models.VisionTransformer``.
    """
    patch, layers, heads, width, mlp_width = _CONFIGS[arch]
    patch = patch_size or patch
    if image_size % patch:
        raise ValueError(
            f"backbone {arch!r}: image_size={image_size} is not a multiple of the patch size "
            f"{patch}; the nearest are {image_size // patch * patch} and "
            f"{(image_size // patch + 1) * patch}."
        )
    check_extra(f"backbone {arch!r}", tv.VisionTransformer.__init__, extra)
    model = VisionTransformer(
        image_size, patch, depth or layers, heads, width, mlp_width, dropout, num_classes=1,
        **(extra or {}),
    )  # fmt: skip
    set_in_channels(model, in_channels)
    model.heads = nn.Identity()
    if weights is not None:
        _load(model, arch, weights, image_size, patch)
    token = nn.Parameter(torch.zeros(1, 1, width)) if mask_token else None
    model.register_parameter("mask_token", token)
    return finish(model, width, checkpoint_blocks)


def _load(model: nn.Module, arch: str, weights: str, image_size: int, patch: int) -> None:
    state = torchvision_weights(arch, weights)
    resized = tv.interpolate_embeddings(image_size, patch, state)
    model.load_state_dict({k: v for k, v in resized.items() if not k.startswith("heads.")})


def __getattr__(name: str) -> Callable[..., nn.Module]:
    if name not in _CONFIGS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return bind(vit, name)
