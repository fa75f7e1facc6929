"""The last resort: other names throughout, but the same tensors in the same order."""

from __future__ import annotations

from sslight.checkpoints.layouts._names import Names, Shapes
from sslight.checkpoints.layouts.plain import unwrappings

NOTE = (
    "no name is the backbone's: matched by order, since the kind (weight, bias, running_mean, ...) "
    "and the shape of every tensor agree. Check the features on images you know"
)
_COUNTER = "num_batches_tracked"


def by_order(theirs: Shapes, own: Shapes) -> Names:
    """Pair names one by one, if kind and shape of all tensors agree; else empty.

    Counters of batch norms are left out, and a classifier (two tensors) may follow in the file.
    """
    ours = [name for name in own if not name.endswith(_COUNTER)]
    for names in unwrappings(theirs):
        listed = [name for name in names if not name.endswith(_COUNTER)]
        if len(ours) <= len(listed) <= len(ours) + 2 and len(ours) > 8:
            pairs = list(zip(listed, ours, strict=False))
            if all(_kind(a, theirs) == _kind(b, own) for a, b in pairs):
                return dict(pairs)
    return {}


def _kind(name: str, shapes: Shapes) -> tuple[str, tuple[int, ...]]:
    return name.rpartition(".")[2], tuple(shapes[name])
