"""torchvision: its convolutional networks keep their names, its transformers get timm's."""

from __future__ import annotations

from sslight.backbones.vit_weights import timm_name
from sslight.checkpoints.layouts._names import Names, Spelling


def spell_vit(names: Names) -> Names:
    """``torchvision.models.VisionTransformer`` to timm's."""
    if not {"conv_proj.weight", "encoder.pos_embedding"} <= set(names.values()):
        return {}
    kept = {theirs: name for theirs, name in names.items() if not name.startswith("heads.")}
    try:
        return {theirs: timm_name(name) for theirs, name in kept.items()}
    except ValueError:  # something else lies beside it
        return {}


VIT = Spelling("transformer of torchvision", "`conv_proj`, `encoder.pos_embedding`", spell_vit)
