"""solo-learn: a Lightning module with an online classifier beside backbone and projector."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sslight.checkpoints.layouts._names import Names, Shapes, Wrapping, within


def unwrap(names: Iterable[str]) -> Names:
    """``state_dict.backbone.*``; older versions say ``encoder``."""
    listed = list(names)
    has_heads = all(
        any(name.startswith(f"state_dict.{head}.") for name in listed)
        for head in ("classifier", "projector")
    )
    return within(listed, "state_dict.backbone.", "state_dict.encoder.") if has_heads else {}


def traits(shapes: Shapes) -> dict[str, Any]:
    """Its 3x3 stem for small images pads by 2 pixels, not 1."""
    return {"stem": "solo"} if shapes.get("conv1.weight", ())[2:] == (3, 3) else {}


WRAPPING = Wrapping(
    "solo-learn",
    "`state_dict.backbone.*` beside `classifier`, `projector`",
    unwrap,
    traits,
    certain=False,  # a user's own Lightning module may have such names too
)
