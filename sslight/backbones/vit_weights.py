"""torchvision's vision transformers, under our names."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from sslight.modules.positions import resized_grid

_OUTER = {
    "class_token": "cls_token",
    "encoder.pos_embedding": "pos_embed",
    "conv_proj.": "patch_embed.proj.",
    "encoder.ln.": "norm.",
}
_INNER = {
    "ln_1.": "norm1.",
    "ln_2.": "norm2.",
    "self_attention.in_proj_": "attn.qkv.",
    "self_attention.out_proj.": "attn.proj.",
    "mlp.0.": "mlp.fc1.",
    "mlp.3.": "mlp.fc2.",
    "mlp.linear_1.": "mlp.fc1.",  # the names in torchvision's oldest files
    "mlp.linear_2.": "mlp.fc2.",
}


def from_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the state dict of torchvision's ``VisionTransformer``; the classifier is left out.

    Shapes are the same, and so is the epsilon of the layer norms (1e-6), hence the features.

    Raises:
        ValueError: A name is not torchvision's.
    """
    return {timm_name(k): v for k, v in state.items() if not k.startswith("heads.")}


def to_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give our transformer's weights torchvision's names; the way back of :func:`from_torchvision`.

    Raises:
        ValueError: torchvision has no such parameter (registers, layer scale).
    """
    return {_as_torchvision(name): tensor for name, tensor in state.items()}


def _as_torchvision(name: str) -> str:
    block = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
    rest, table = (block[2], _INNER) if block else (name, _OUTER)
    for theirs, ours in table.items():
        if rest.startswith(ours):
            named = theirs + rest.removeprefix(ours)
            return f"encoder.layers.encoder_layer_{block[1]}.{named}" if block else named
    raise ValueError(f"torchvision's vision transformers have no parameter {name!r}.")


def timm_name(name: str) -> str:
    """A parameter of torchvision's transformer by the name that timm's and ours have.

    Raises:
        ValueError: The name is not torchvision's.
    """
    block = re.fullmatch(r"encoder\.layers\.encoder_layer_(\d+)\.(.+)", name)
    rest, table = (block[2], _INNER) if block else (name, _OUTER)
    for theirs, ours in table.items():
        if rest.startswith(theirs):
            renamed = ours + rest.removeprefix(theirs)
            return f"blocks.{block[1]}.{renamed}" if block else renamed
    raise ValueError(f"{name!r} is no parameter of torchvision's vision transformers.")


def with_grid(state: Mapping[str, Tensor], side: int) -> dict[str, Tensor]:
    """Resize the position embeddings of a square grid, class token first, to ``side`` patches."""
    positions = state["pos_embed"]
    old = round((positions.shape[1] - 1) ** 0.5)
    patches = resized_grid(positions[:, 1:], (old, old), (side, side))
    return {**state, "pos_embed": torch.cat([positions[:, :1], patches], dim=1)}
