"""The last resort: other names throughout, but the same tensors in the same order."""

from __future__ import annotations

from collections.abc import Iterable

from sslight.checkpoints.layouts._names import Names, Shapes
from sslight.checkpoints.layouts.plain import unwrappings

NOTE = (
    "no name is the backbone's: matched by order, since the kind (weight, bias, running_mean, ...) "
    "and the shape of every tensor agree. Check the features on images you know"
)
_COUNTER = "num_batches_tracked"
_FEWEST = 8  # with fewer tensors, agreement could be chance


def by_order(theirs: Shapes, own: Shapes) -> Names:
    """Pair names one by one, if kind and shape of all tensors agree; else empty.

    A classifier (two tensors) may follow in the file, and batch norms may lack their counters.
    """
    for names in unwrappings(theirs):
        for left_out in ("", _COUNTER):
            pairs = _pairs(_without(names, left_out), _without(own, left_out))
            if pairs and all(_kind(a, theirs) == _kind(b, own) for a, b in pairs.items()):
                return pairs
    return {}


def _pairs(theirs: list[str], own: list[str]) -> Names:
    fits = _FEWEST < len(own) <= len(theirs) <= len(own) + 2
    return dict(zip(theirs, own, strict=False)) if fits else {}


def _without(names: Iterable[str], end: str) -> list[str]:
    return [name for name in names if not end or not name.endswith(end)]


def _kind(name: str, shapes: Shapes) -> tuple[str, tuple[int, ...]]:
    return name.rpartition(".")[2], tuple(shapes[name])
