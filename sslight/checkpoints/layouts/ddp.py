"""Research code that saved its DistributedDataParallel: SwAV, Barlow Twins, VICReg, SimSiam."""

from __future__ import annotations

from collections.abc import Iterable

from sslight.checkpoints.layouts._names import Names, Wrapping, within


def unwrap_swav(names: Iterable[str]) -> Names:
    """SwAV (also DeepCluster-v2): a ResNet with projection head and prototypes in it."""
    listed = list(names)
    has_heads = any(".projection_head." in n or ".prototypes." in n for n in listed)
    return within(listed, "module.") if has_heads else {}


def unwrap_backbone(names: Iterable[str]) -> Names:
    """Barlow Twins and VICReg: ``module.backbone.*``; SimSiam: ``module.encoder.*``."""
    return within(names, "module.backbone.", "module.encoder.")


SWAV = Wrapping(
    "SwAV, DeepCluster-v2", "`module.*` beside `projection_head`, `prototypes`", unwrap_swav
)
BACKBONE = Wrapping(
    "Barlow Twins, VICReg, SimSiam", "`module.backbone.*`, `module.encoder.*`", unwrap_backbone
)
