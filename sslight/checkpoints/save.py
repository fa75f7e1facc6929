"""A backbone to one self-describing file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from sslight.checkpoints.record import Record, describe, whole
from sslight.utils import sync_folder, write_atomically


def save_backbone(
    backbone: nn.Module,
    path: str | Path,
    meta: Mapping[str, Any] | None = None,
    *,
    view: Any = None,
) -> Record:
    """Write ``<path>.safetensors`` and, readable beside it, ``<path>.json``, each atomically.

    The description is in the header of the ``.safetensors`` too, so that this file alone suffices.

    Args:
        backbone: With ``embed_dim``. Its name and arguments are kept if it came from
            :func:`sslight.backbone`; a module of your own has to be given again on loading.
        path: With or without the suffix.
        meta: Plain values to keep (run, step, method, ...).
        view: Spec of the evaluation view, for ``embed`` after loading.
    """
    from safetensors.torch import save_file

    target = Path(path)
    if target.suffix != ".safetensors":
        target = target.with_name(target.name + ".safetensors")
    target.parent.mkdir(parents=True, exist_ok=True)
    record = describe(backbone, view, meta)
    # Cloned because safetensors refuses tensors that share memory (tied weights).
    tensors = {name: whole(tensor).clone() for name, tensor in backbone.state_dict().items()}
    temporary = target.with_name(f"{target.name}.tmp")
    save_file(tensors, temporary, metadata={"sslight": record.to_json()})
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, target)
    sync_folder(target.parent)
    write_atomically(target.with_suffix(".json"), record.to_json().encode())
    return record
