"""Weight files to a flat ``{name: tensor}``; nothing in a file is ever executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# Where common files keep their weights, in the order in which they are tried.
_NESTED = ("state_dict", "model", "model_state_dict", "backbone")


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file or a PyTorch file (``weights_only=True``).

    Raises:
        ValueError: the file holds something else than tensors.
    """
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return dict(load_file(path))
    content = read_pickle(path)
    for key in _NESTED:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if _flat(content) else {}
    if not tensors:
        raise ValueError(
            f"{path}: no weights found; expected a dict of tensors, or one under "
            f"{', '.join(_NESTED)}."
        )
    return tensors


def read_pickle(path: Path) -> Any:
    """``torch.load`` restricted to tensors and plain values."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # torch answers to damaged bytes with errors of many kinds
        if "GLOBAL" in str(error):
            raise ValueError(
                f"{path}: it holds more than weights and is not loaded, since unpickling can run "
                "code. If you trust it, load it yourself and save its state_dict."
            ) from error
        raise ValueError(
            f"{path}: it is damaged, or no file of PyTorch's ({path.stat().st_size} bytes)."
        ) from error


def _flat(content: Any) -> bool:
    return isinstance(content, dict) and all(isinstance(k, str) for k in content)
