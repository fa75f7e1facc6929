"""DINO, iBOT, DINOv2: a teacher and a student; and DINOv2's names of blocks and registers."""

from __future__ import annotations

from collections.abc import Iterable

from sslight.checkpoints.layouts._names import (
    Names,
    Spelling,
    Wrapping,
    any_matches,
    renamed,
    within,
)

# Sharded training cuts the blocks into chunks, and counts on: blocks.0.3. is block 3 in chunk 0.
_CHUNK = r"^blocks\.\d+\.(\d+)\."


def unwrap(names: Iterable[str]) -> Names:
    """The teacher, which the papers evaluate; the student where a file has no teacher."""
    return within(
        names,
        "teacher.backbone.",
        "teacher.module.backbone.",
        "student.module.backbone.",
        "student.backbone.",
    )


def unwrap_ijepa(names: Iterable[str]) -> Names:
    """I-JEPA's target encoder."""
    return within(names, "target_encoder.module.", "target_encoder.")


def spell_v2(names: Names) -> Names:
    """DINOv2's transformer to timm's: whole blocks, registers, gated MLPs."""
    if not any_matches(names, rf"{_CHUNK}|register_tokens$|blocks\.\d+\.mlp\.w12\."):
        return {}
    whole = renamed(names, {_CHUNK: r"blocks.\1."})
    rules = {"^register_tokens$": "reg_token", r"\.mlp\.w12\.": ".mlp.fc1.", r"\.w3\.": ".fc2."}
    return renamed(whole, rules)


WRAPPING = Wrapping(
    "DINO, iBOT, DINOv2", "`teacher.backbone.*`, `student.module.backbone.*`", unwrap
)
IJEPA = Wrapping("I-JEPA", "`target_encoder.module.*`", unwrap_ijepa)
V2 = Spelling("transformer of DINOv2", "`blocks.0.3.*`, `register_tokens`, `mlp.w12`", spell_v2)
