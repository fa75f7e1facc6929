"""The views of published methods, as plain lists of specs (and parts, such as masks).

``strength`` scales the colour jitter; 0.5 is usual for images of 32 pixels. ``blur=None`` means the
published probability above 32 pixels and none up to 32, as SimCLR does on CIFAR-10.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sslight.augment.parts import Part
from sslight.augment.presets.masked import data2vec, ibot, ijepa
from sslight.augment.presets.multicrop import dino, swav
from sslight.augment.presets.pairs import byol, moco, ressl, simclr
from sslight.augment.presets.patches import jigsaw, pirl
from sslight.augment.presets.single import colorization, eval, mae, npid, simmim, supervised
from sslight.augment.spec import ViewSpec

__all__ = [
    "PRESETS",
    "byol",
    "colorization",
    "data2vec",
    "dino",
    "eval",
    "ibot",
    "ijepa",
    "jigsaw",
    "mae",
    "moco",
    "npid",
    "pirl",
    "ressl",
    "simclr",
    "simmim",
    "supervised",
    "swav",
]

PRESETS: dict[str, Callable[..., Sequence[ViewSpec | Part]]] = {
    "simclr": simclr,
    "byol": byol,
    "moco": moco,
    "ressl": ressl,
    "swav": swav,
    "dino": dino,
    "ibot": ibot,
    "data2vec": data2vec,
    "ijepa": ijepa,
    "npid": npid,
    "pirl": pirl,
    "jigsaw": jigsaw,
    "mae": mae,
    "simmim": simmim,
    "supervised": supervised,
    "colorization": colorization,
    "eval": eval,
}
