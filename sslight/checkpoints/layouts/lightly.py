"""lightly and lightly-train: a ResNet taken apart into a Sequential, embedding models."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sslight.checkpoints.layouts._names import Names, Spelling, Wrapping, renamed, within

_STAGE = re.compile(r"(\d+)\.0\.conv1\.weight")


def unwrap(names: Iterable[str]) -> Names:
    """The two networks of its examples of self-distillation, the teacher first.

    Other examples keep theirs in ``backbone.*``, as everyone does.
    """
    return within(names, "teacher_backbone.", "student_backbone.")


def unwrap_train(names: Iterable[str]) -> Names:
    """lightly-train's embedding model; the teacher where the method evaluates one."""
    models = ("teacher_embedding_model.", "student_embedding_model.", "embedding_model.")
    holders = (f"{m}wrapped_model.{part}" for m in models for part in ("_model.", "_features."))
    return within(names, *holders)


def spell_sequential(names: Names) -> Names:
    """``Sequential(*resnet.children())`` back to a ResNet: 0 conv1, 1 bn1, then the stages.

    torchvision's stages stand at 4 to 7; lightly's own ResNet has neither ReLU nor pooling among
    its children, so that they stand at 2 to 5.
    """
    inside = set(names.values())
    stages = sorted({int(m[1]) for name in inside if (m := _STAGE.fullmatch(name))})
    if not stages or not {"0.weight", "1.running_mean"} <= inside:
        return {}
    rules = {rf"^{place}\.": f"layer{i}." for i, place in enumerate(stages, 1)}
    whole = renamed(names, {r"^0\.": "conv1.", r"^1\.": "bn1.", **rules})
    return spell_shortcut(whole) or whole


def spell_shortcut(names: Names) -> Names:
    """Lightly's own ResNet, which calls the projection of a block its shortcut."""
    if not any(re.match(r"layer\d\.\d+\.shortcut\.", name) for name in names.values()):
        return {}
    return renamed(names, {r"^(layer\d\.\d+\.)shortcut\.": r"\1downsample."})


WRAPPING = Wrapping("lightly", "`teacher_backbone.*`, `student_backbone.*`", unwrap)
TRAIN = Wrapping(
    "lightly-train", "`embedding_model.wrapped_model.*`, of teacher or student", unwrap_train
)
SEQUENTIAL = Spelling("ResNet in a Sequential", "`0.weight`, `4.0.conv1.weight`", spell_sequential)
SHORTCUT = Spelling("ResNet of lightly", "`layer2.0.shortcut.0.weight`", spell_shortcut)
