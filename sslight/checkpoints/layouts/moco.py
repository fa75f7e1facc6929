"""MoCo (facebookresearch/moco, moco-v3): the encoder that gradients train, less its projector."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sslight.checkpoints.layouts._names import Names, Shapes, Wrapping, within


def unwrap_v2(names: Iterable[str]) -> Names:
    """``module.encoder_q.*``; the momentum encoder ``encoder_k`` is the same a little later."""
    return within(names, "encoder_q.")


def unwrap_v3(names: Iterable[str]) -> Names:
    """``module.base_encoder.*``, a ResNet or a transformer."""
    return within(names, "base_encoder.")


def traits_v3(shapes: Shapes) -> dict[str, Any]:
    """Its small transformer has 12 heads, where everyone else's has 6."""
    small = shapes.get("patch_embed.proj.weight", ())[:1] == (384,)
    return {"heads": 12} if small else {}


V2 = Wrapping("MoCo v1, v2", "`module.encoder_q.*`", unwrap_v2)
V3 = Wrapping("MoCo v3", "`module.base_encoder.*`", unwrap_v3, traits_v3)
