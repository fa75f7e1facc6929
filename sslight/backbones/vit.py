"""The vision transformers by name; what they are is in :mod:`sslight.backbones.vit_model`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from sslight.backbones.common import finish, torchvision_weights
from sslight.backbones.spec import bind
from sslight.backbones.vit_model import Init, VisionTransformer
from sslight.backbones.vit_weights import from_torchvision, with_grid
from sslight.modules.transformer import MlpKind


class _Shape(NamedTuple):
    patch_size: int
    width: int
    depth: int
    heads: int
    mlp: MlpKind = "gelu"


SHAPES = {
    "vit_t_16": _Shape(16, 192, 12, 3),
    "vit_s_16": _Shape(16, 384, 12, 6),
    "vit_s_14": _Shape(14, 384, 12, 6),
    "vit_b_16": _Shape(16, 768, 12, 12),
    "vit_b_32": _Shape(32, 768, 12, 12),
    "vit_b_14": _Shape(14, 768, 12, 12),
    "vit_l_16": _Shape(16, 1024, 24, 16),
    "vit_l_32": _Shape(32, 1024, 24, 16),
    "vit_l_14": _Shape(14, 1024, 24, 16),
    "vit_h_14": _Shape(14, 1280, 32, 16),
    "vit_g_14": _Shape(14, 1536, 40, 24, "swiglu"),
}


def vit(
    arch: str,
    *,
    image_size: int = 224,
    patch_size: int | None = None,
    width: int | None = None,
    depth: int | None = None,
    heads: int | None = None,
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
    mlp: MlpKind | None = None,
    init: Init = "normal",
    weights: str | None = None,
    checkpoint_blocks: int = 0,
) -> nn.Module:
    """A vision transformer without a classifier; its weights go to and from timm's by name.

    Args:
        arch: Name of the architecture.
        image_size: Side of the images in pixels, a multiple of the patch size; others of any such
            size are taken too, with interpolated position embeddings.
        patch_size: Side of a patch in pixels; default the architecture's.
        width: Width of the tokens; default the architecture's.
        depth: Number of blocks; default the architecture's.
        heads: Attention heads, a divisor of the width; default the architecture's.
        in_channels: Channels of the images.
        registers: Number of register tokens.
        class_token: Have a class token.
        pooling: The embedding: the class token, or the mean of the patch tokens.
        dropout: Dropout rate behind the attention and inside the MLPs.
        attention_drop: Dropout rate of the attention's weights.
        drop_path: Stochastic-depth rate of the last block, linear from 0.
        drop_path_uniform: Give all blocks that rate, as DINOv2 does.
        layer_scale: Initial value of the layer scale, such as DINOv2's 1.0e-5; null for none.
        mask_token: Add the learnt token that ``tokens(images, mask)`` puts in masked places
            (methods that mask add it themselves).
        mlp: Kind of the blocks' MLPs: ``gelu``, or the gated ``swiglu`` of about as many weights;
            default the architecture's.
        init: How weights start: ``normal``, of deviation 0.02 as in timm, DINO and BEiT, or
            ``xavier`` (uniform) as in MAE, which narrow transformers learn from sooner.
        weights: A torchvision weights name; position embeddings are resized to ``image_size``.
        checkpoint_blocks: Recompute the activations of this many blocks (0 = keep all).
    """
    shape = SHAPES[arch]
    patch = patch_size or shape.patch_size
    _check_image_size(arch, image_size, patch)
    model = VisionTransformer(
        image_size=image_size,
        patch_size=patch,
        width=width or shape.width,
        depth=depth or shape.depth,
        heads=heads or shape.heads,
        in_channels=in_channels,
        registers=registers,
        class_token=class_token,
        pooling=pooling,
        dropout=dropout,
        attention_drop=attention_drop,
        drop_path=drop_path,
        drop_path_uniform=drop_path_uniform,
        layer_scale=layer_scale,
        mask_token=mask_token,
        mlp=mlp or shape.mlp,
        init=init,
    )
    if weights is not None:
        _load(model, arch, weights)
    return finish(model, model.embed_dim, checkpoint_blocks)


def _check_image_size(arch: str, image_size: int, patch: int) -> None:
    below = image_size // patch * patch
    if below != image_size:
        raise ValueError(
            f"backbone {arch!r}: image_size={image_size} is not a multiple of the patch size "
            f"{patch}; the nearest are {below} and {below + patch}."
        )


def _load(model: VisionTransformer, arch: str, weights: str) -> None:
    """Take torchvision's weights; whatever it does not have must have been left at its default."""
    theirs = from_torchvision(torchvision_weights(arch, weights))
    state = with_grid(theirs, model.image_size // model.patch_size)
    own = {name: tensor for name, tensor in model.state_dict().items() if name != "mask_token"}
    different = [k for k in own.keys() | state.keys() if _shape(own, k) != _shape(state, k)]
    if different:
        raise ValueError(
            f"backbone {arch!r}: weights {weights!r} do not fit this form of it "
            f"({len(different)} tensors differ, first: {min(different)}). They were trained with "
            "in_channels=3, the architecture's own patch size, width, depth and MLPs, a class "
            "token, and neither registers nor layer scale."
        )
    model.load_state_dict(state, strict=False)


def _shape(state: Mapping[str, Tensor], name: str) -> torch.Size | None:
    return state[name].shape if name in state else None


def __getattr__(name: str) -> Callable[..., nn.Module]:
    if name not in SHAPES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return bind(vit, name)
