"""Weight files to a flat ``{name: tensor}``; nothing in a file is ever executed unasked."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

#: Names a file whose pickled code may run: paths, separated as in PATH. Never read from a config.
TRUST = "SSLIGHT_TRUST_FILES"

# Branches of a file's tree that hold no weights.
_NO_WEIGHTS = frozenset(
    [
        "optimizer",
        "optimizers",
        "optimizer_states",
        "lr_schedulers",
        "scheduler",
        "scaler",
        "amp",
        "callbacks",
        "loops",
        "args",
        "hyper_parameters",
        "datamodule_hyper_parameters",
        "meters",
        "hooks",
        "loss",
        "losses",
        "sslight",
    ]
)
_PARTS = {"shard_list": "shards", "slice_list": "slices"}  # VISSL's index files


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` or PyTorch file, by their path through its dicts.

    Of a checkpoint of sslight's it is the evaluated backbone, by its own names.

    Raises:
        ValueError: The file holds no weights, or more than weights.
    """
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return dict(load_file(path))
    content = read_pickle(path)
    tensors = dict(_flat(content))
    if not tensors:
        raise ValueError(f"{path}: no weights found; it holds {_described(content)}.")
    told = content.get("sslight") if isinstance(content, dict) else None
    return _own(tensors, told) if isinstance(told, dict) else tensors


def read_pickle(path: Path) -> Any:
    """``torch.load`` restricted to tensors and plain values, unless the user trusts the file.

    Raises:
        ValueError: The file holds something else (the message has its names), or is damaged.
    """
    trusted = _is_trusted(path)
    try:
        with torch.serialization.safe_globals(_plain_values()):
            return torch.load(path, map_location="cpu", weights_only=not trusted)
    except FileNotFoundError:
        raise
    except ImportError as error:
        raise ValueError(
            f"{path}: it is trusted, but its objects need a package that is not installed: {error}."
        ) from error
    except Exception as error:  # torch answers to damaged bytes with errors of many kinds
        raise ValueError(f"{path}: {_why(path, str(error))}") from error


def _why(path: Path, message: str) -> str:
    if "TorchScript" in message:
        return "it is a TorchScript program, not weights: save the state_dict of its original."
    if "GLOBAL" not in message:  # without the name of an object there is nothing to block
        return f"it is damaged, or no file of PyTorch's ({path.stat().st_size} bytes)."
    return (
        "it holds more than weights and is not loaded, since unpickling can run code. Blocked: "
        f"{_blocked(path, message)}. If you trust whoever made it, set "
        f"{TRUST}={path.absolute()} in the environment; else ask for its state_dict alone."
    )


def _blocked(path: Path, message: str) -> str:
    """What the file would call, read from its bytes without running any."""
    try:
        with torch.serialization.safe_globals(_plain_values()):
            found = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # files in the format of before 1.6 cannot be searched
        found = []
    if not found:
        return message.partition("GLOBAL ")[2].split(" ")[0] or "an object that is no tensor"
    rest = len(found) - 6
    return ", ".join(found[:6]) + (f" and {rest} more" if rest > 0 else "")


def _is_trusted(path: Path) -> bool:
    listed = os.environ.get(TRUST, "").split(os.pathsep)
    return any(Path(one).expanduser().resolve() == path.resolve() for one in listed if one)


def _plain_values() -> list[Any]:
    """Records without behaviour that research code keeps beside weights: arguments, numbers."""
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(code)) for code in "?bhilqBHILQefd"]
    old_and_new = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return [argparse.Namespace, np.dtype, *dtypes, *old_and_new]


def _flat(content: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, nn.Module):
        content = content.state_dict()
    if isinstance(content, Tensor):
        yield prefix[:-1], content.detach()
    elif isinstance(content, dict):
        for key, value in content.items():
            if isinstance(key, str) and not (key in _NO_WEIGHTS and isinstance(value, dict)):
                yield from _flat(value, f"{prefix}{key}.")


def _own(tensors: dict[str, Tensor], told: dict[str, Any]) -> dict[str, Tensor]:
    """The evaluated backbone of a training checkpoint of ours, alone."""
    main = f"state_dict.{told.get('prefixes', {}).get('main', 'backbone.')}"
    inside = {k.removeprefix(main): t for k, t in tensors.items() if k.startswith(main)}
    return inside or tensors


def _described(content: Any) -> str:
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    kind = content.get("type")
    if kind in _PARTS:
        return (
            f"the index of a checkpoint in {_PARTS[kind]}. Put it together first, with VISSL's "
            "extra_scripts/convert_sharded_checkpoint.py -t consolidated"
        )
    return f"a dict with the keys {', '.join(map(str, list(content)[:8])) or '(none)'}"
