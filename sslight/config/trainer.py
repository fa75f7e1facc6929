"""The ``trainer`` node: Lightning's own signature, less what sslight does itself."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslight import registry
from sslight.config import calls
from sslight.config.values import FAILED, show

if TYPE_CHECKING:
    from sslight.config.reader import Reader

#: Keys of Lightning's Trainer that sslight sets, and what to write instead.
OURS = {
    "barebones": "write callbacks.NAME: null for each callback you do not want",
    "callbacks": "write them under the top-level key, callbacks: {knn: {k: 20}}",
    "default_root_dir": "write the top-level key run_dir",
    "enable_checkpointing": "write callbacks.checkpoint: {...}, or null there for none",
    "enable_model_summary": "parameters are counted at the start of every run",
    "enable_progress_bar": "a bar on a terminal and plain lines elsewhere are chosen by itself",
    "num_sanity_val_steps": "there are none, so that a resumed run equals a straight one; "
    "try a config with trainer.fast_dev_run or sslight check",
    "overfit_batches": "write data.limit for a small training set",
    "plugins": "write trainer.precision, trainer.sync_batchnorm or trainer.strategy",
    "reload_dataloaders_every_n_epochs": "an epoch's order follows from seed and epoch; "
    "remove the key",
    "use_distributed_sampler": "ranks share each batch of data.batch_size images; remove the key",
}

#: Keys that name a public class of Lightning, and where it lives.
HOMES = {
    "logger": "pytorch_lightning.loggers",
    "profiler": "pytorch_lightning.profilers",
    "strategy": "pytorch_lightning.strategies",
}
_ABSTRACT = {"Logger", "ParallelStrategy", "Profiler", "Strategy"}
_PROFILERS = ["simple", "advanced", "pytorch"]


def read(reader: Reader, key: str, node: Any) -> Any:
    """Read the node; when building, return keyword arguments for Lightning's Trainer."""
    if node is None:
        return {}
    if not isinstance(node, dict):
        return reader.fail(key, f"got {show(node)}; expected keys of Lightning's Trainer.")
    read = {name: _one(reader, f"{key}.{name}", name, value) for name, value in node.items()}
    return FAILED if any(value is FAILED for value in read.values()) else read


def _one(reader: Reader, key: str, name: str, value: Any) -> Any:
    import pytorch_lightning as pl

    parameters = registry.signature(None, pl.Trainer)
    if name in OURS:
        return reader.fail(key, f"is sslight's: {OURS[name]}.")
    if name in HOMES:
        return _chosen(reader, key, name, value)
    if name == "sync_batchnorm":
        return reader.read(key, value, bool | int)
    if name == "accelerator":
        return _word(reader, key, value, accelerators())
    if name in parameters:
        return reader.read(key, value, parameters[name].annotation)
    allowed = [word for word in parameters if word not in OURS]
    return calls.unknown(reader, key, "Lightning's Trainer", allowed)


def _chosen(reader: Reader, key: str, kind: str, value: Any) -> Any:
    """Read a strategy, profiler or logger (or several): a name, or ``{name: ..., ...}``."""
    if value is None or (kind == "logger" and isinstance(value, bool)):
        return value
    if kind == "logger" and isinstance(value, list):
        read = [_chosen(reader, f"{key}.{i}", kind, entry) for i, entry in enumerate(value)]
        return FAILED if any(entry is FAILED for entry in read) else read
    words = _words(kind)
    if isinstance(value, str) and value in words:
        return value
    node = {"name": value} if isinstance(value, str) else value
    if not isinstance(node, dict):
        return reader.fail(key, f"got {show(value)}; expected a name or {{name: ..., ...}}.")
    return _named(reader, key, kind, node)


def _named(reader: Reader, key: str, kind: str, node: dict[str, Any]) -> Any:
    """Read ``{name: ..., key: value}``; when building, build it."""
    name = node.get("name")
    thing = _find(kind, name)
    if thing is None:
        said = f"missing; it says which {kind}." if name is None else f"unknown {kind} {name!r}."
        if str(name).startswith("fsdp"):
            said = f"{name} is Lightning's FSDP 1. Write model_parallel (FSDP2)."
        nearest = registry.did_you_mean(str(name), known(kind))
        return reader.fail(f"{key}.name", said + nearest)
    given = {word: entry for word, entry in node.items() if word != "name"}
    options = {**_folder(kind, thing, Path()), **given}
    read = calls.call(reader, key, thing, options, label=str(name))
    if read is FAILED or reader.make:
        return read
    return {"name": name, **{word: read[word] for word in given}}


def in_folder(logger: Any, folder: Path) -> Any:
    """Return the node of a logger (or several) that writes into ``folder`` unless it says where."""
    if isinstance(logger, list):
        return [in_folder(entry, folder) for entry in logger]
    node = {"name": logger} if isinstance(logger, str) else logger
    if not isinstance(node, dict) or _find("logger", node.get("name")) is None:
        return logger
    return {**_folder("logger", _find("logger", node["name"]), folder), **node}


def _folder(kind: str, thing: Any, folder: Path) -> dict[str, str]:
    """Return where a logger writes by default, as an argument; the config need not say it."""
    takes = kind == "logger" and "save_dir" in registry.signature(None, thing)
    return {"save_dir": str(folder)} if takes else {}


def _find(kind: str, name: Any) -> Any | None:
    """Return one of sslight's strategies, or a public class of Lightning."""
    if name in _ours(kind):
        return _ours(kind)[name]
    return getattr(importlib.import_module(HOMES[kind]), name) if name in _public(kind) else None


def _ours(kind: str) -> dict[str, Callable[..., Any]]:
    if kind != "strategy":
        return {}
    return dict(importlib.import_module("sslight.strategies").STRATEGIES)


def _public(kind: str) -> list[str]:
    names = importlib.import_module(HOMES[kind]).__all__
    return [name for name in names if name not in _ABSTRACT and not name.startswith("FSDP")]


def _words(kind: str) -> list[str]:
    """Return the bare words that Lightning itself understands."""
    if kind != "strategy":
        return _PROFILERS if kind == "profiler" else []
    from pytorch_lightning.strategies import StrategyRegistry

    theirs = StrategyRegistry.available_strategies()
    return ["auto", *(word for word in theirs if word not in _ours(kind) and "fsdp" not in word)]


def known(kind: str) -> list[str]:
    """Return the names that a strategy, profiler or logger may have."""
    return [*_ours(kind), *_words(kind), *_public(kind)]


def accelerators() -> list[str]:
    """Return the names of Lightning's accelerators."""
    from pytorch_lightning.accelerators import AcceleratorRegistry

    return sorted({"auto", "gpu", *AcceleratorRegistry.available_accelerators()})


def _word(reader: Reader, key: str, value: Any, known: list[str]) -> Any:
    if isinstance(value, str) and value in known:
        return value
    nearest = registry.suggestion(str(value), known)
    return reader.fail(key, f"got {show(value)}; expected one of {', '.join(known)}.{nearest}")
