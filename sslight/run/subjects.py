"""What ``sslight eval`` can be pointed at: configs, runs, files of weights, names, stores."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from sslight import config as configs
from sslight.backbones import BACKBONES
from sslight.backbones.spec import did_you_mean
from sslight.checkpoints.formats import read_pickle
from sslight.checkpoints.record import read_record
from sslight.errors import RefusedRunError, refusing

#: What files of weights are usually called.
_SUFFIXES = (".ckpt", ".safetensors", ".pth", ".pt", ".bin", ".torch")
#: Keys of a training's config that say something about an evaluation of its weights.
_KEPT = ("seed", "method", "backbone", "data", "trainer", "extract", "eval")


def is_store(path: Any) -> TypeGuard[str | os.PathLike[str]]:
    """Whether a path is the folder of a feature store."""
    return isinstance(path, str | os.PathLike) and (Path(path) / "manifest.json").is_file()


def composed(
    config: str | os.PathLike[str] | Mapping[str, Any] | None, overrides: Iterable[str]
) -> Any:
    """Return the config meant by a path, a name, a mapping, a file of weights, or overrides alone.

    A checkpoint of ours brings the config that it was trained with; other files bring themselves as
    ``extract.checkpoint``, or as ``init`` where they do not say which network they are of.
    """
    if config is None:
        bare = configs.compose({}, overrides)
        name = (bare.get("backbone") or {}).get("name", "eval")
        parts = [name, *([label_of(bare["init"])] if bare.get("init") else [])]
        return configs.Config(bare, origins=bare.origins, name=label_of("_".join(parts)))
    if isinstance(config, Mapping) or not _is_weights(Path(config)):
        return configs.compose(config, overrides)
    path = Path(config)
    if not path.is_file():
        raise RefusedRunError(f"sslight eval: there is no file {path}.")
    with refusing():
        told = _told(path)
        told |= _pointer(path, told)
    return configs.compose(configs.Config(told, name=label_of(path)), overrides)


def variant(word: str, main: Mapping[str, Any]) -> Any:
    """Return the config of another subject on the data and with the protocols of ``main``.

    Args:
        word: A run's folder, a file of weights, a backbone's name (with its library's weights),
            ``pixels``, or ``random`` (the main config's backbone with random weights).
        main: A composed config.
    """
    tree = {key: value for key, value in main.items() if key not in ("backbone", "init", "run_dir")}
    extract = dict(main.get("extract") or {})
    tree["extract"] = {k: v for k, v in extract.items() if k not in ("checkpoint", "out")}
    path = Path(word).expanduser()
    if word == "random":
        tree |= {"backbone": main.get("backbone"), "init": "random"}
    elif word == "pixels":
        tree["backbone"] = {"name": "pixels"}
    else:  # it brings its own view; data.eval_view holds for all
        tree["data"] = {k: v for k, v in (main.get("data") or {}).items() if k != "views"}
        tree |= _weights(path, tree, main) if path.exists() else _library(word)
    return configs.Config(tree, origins=getattr(main, "origins", {}), name=label_of(word))


def _weights(path: Path, tree: Mapping[str, Any], main: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that make a run's folder or a file the source of the weights."""
    with refusing():
        pointer = {"extract": {"checkpoint": str(path)}} if path.is_dir() else _pointer(path, {})
    if "init" in pointer:  # another library's file: it is of the main config's network
        return {**pointer, "backbone": main.get("backbone")}
    return {"extract": {**tree["extract"], **pointer["extract"]}}


def _library(word: str) -> dict[str, Any]:
    """A backbone with the weights that timm or torchvision has for it."""
    if word.startswith("timm/"):
        return {"backbone": {"name": word, "pretrained": True}}
    if word in BACKBONES:
        return {"backbone": {"name": word, "weights": "DEFAULT"}}
    raise RefusedRunError(
        f"--with: there is no file, run folder or backbone {word!r}."
        f"{did_you_mean(word, [*BACKBONES, 'random', 'pixels'])}"
    )


def label_of(word: str | Path) -> str:
    """Return a short name for a path or a backbone, fit for a folder."""
    path = Path(word)
    if path.is_file():
        folder = path.resolve().parent
        run = folder.parent if folder.name == "checkpoints" else folder
        if not (run / "config.yaml").is_file():
            return path.stem
        return run.name if path.stem == "backbone" else f"{run.name}_{path.stem}"
    if path.exists():
        whole = path.resolve()
        in_run = whole.name == "features" and is_store(whole)
        return whole.parent.name if in_run else whole.name
    return str(word).replace("/", "_")


def _is_weights(path: Path) -> bool:
    return path.suffix in _SUFFIXES or (path.is_file() and path.suffix not in (".yaml", ".yml"))


def _told(path: Path) -> dict[str, Any]:
    """The config that a checkpoint of ours was trained with, as far as evaluation wants it."""
    if path.suffix != ".ckpt":
        return {}
    stored = (read_pickle(path).get("sslight") or {}).get("config")
    config = json.loads(stored) if stored else {}
    return {key: config[key] for key in _KEPT if key in config}


def _pointer(path: Path, told: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that make a file the source of the weights."""
    if path.suffix == ".ckpt":
        ours = "sslight" in read_pickle(path)
    else:
        ours = path.suffix == ".safetensors" and read_record(path) is not None
    if not ours:
        return {"init": str(path)}
    return {"extract": {**(told.get("extract") or {}), "checkpoint": str(path), "out": None}}
