"""Checkpoint files that are whole or absent."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from sslight.errors import RefusedRunError
from sslight.utils import sync_folder


class AtomicCheckpointIO(CheckpointIO):
    """Write next to the target, flush, rename; read with ``weights_only=True``, always.

    Lightning's own goes through the system's temporary folder: across file systems a kill during
    the move leaves a truncated file in place of the good one.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write ``checkpoint`` to ``path`` atomically."""
        refuse_unloadable(checkpoint)
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.tmp")
        with open(temporary, "wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, loc: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint; anything but tensors and plain containers is refused."""
        del weights_only  # there is no other way here
        try:
            loaded: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
        except pickle.UnpicklingError as error:
            raise RefusedRunError(
                f"{path} cannot be read as plain tensors and containers, and sslight loads nothing "
                f"else: {error}"
            ) from error
        return loaded

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a file; a missing one is no error."""
        Path(path).unlink(missing_ok=True)


def refuse_unloadable(checkpoint: dict[str, Any]) -> None:
    """Raise if a checkpoint holds something that could not be loaded again, naming the entry.

    Args:
        checkpoint: What is about to be written.

    Raises:
        ValueError: An entry is neither a tensor nor a plain container, number or string.
    """
    found = _foreign(checkpoint, "checkpoint")
    if found:
        where, kind = found
        raise ValueError(
            f"{where} is a {kind}, which a checkpoint cannot hold (it is read with "
            "weights_only=True). Keep tensors, numbers, strings, lists and dicts in state; if the "
            "entry comes from save_hyperparameters(), drop that call: sslight rebuilds a method "
            "from the run's config.yaml."
        )


def _foreign(value: Any, where: str) -> tuple[str, str] | None:
    if isinstance(value, dict):
        items = [(f"{where}[{key!r}]", entry) for key, entry in value.items()]
    elif type(value) in (list, tuple, set):
        items = [(f"{where}[{i}]", entry) for i, entry in enumerate(value)]
    elif (
        value is None
        or isinstance(value, (torch.Tensor, torch.device, torch.dtype, torch.Size))
        or type(value) in (int, float, str, bool, bytes, complex)
    ):
        return None
    else:
        return where, f"{type(value).__module__}.{type(value).__qualname__}"
    return next((found for name, entry in items if (found := _foreign(entry, name))), None)
