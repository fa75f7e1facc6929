"""MAE: the encoder beside its decoder, in one flat dict under ``model``."""

from __future__ import annotations

from collections.abc import Iterable

from sslight.checkpoints.layouts._names import Names, Wrapping

_MARK = "decoder_pred.weight"


def unwrap(names: Iterable[str]) -> Names:
    """Everything beside the decoder; a file of the encoder alone has timm's names anyway."""
    listed = list(names)
    holder = next((name.removesuffix(_MARK) for name in listed if name.endswith(_MARK)), None)
    if holder is None:
        return {}
    inside = {name: name.removeprefix(holder) for name in listed if name.startswith(holder)}
    return {theirs: name for theirs, name in inside.items() if not name.startswith("decoder_")}


WRAPPING = Wrapping("MAE", "`decoder_pred.*` beside `blocks.*`", unwrap)
