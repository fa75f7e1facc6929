"""From a checked config to the objects of a run."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pytorch_lightning.callbacks import Callback

from sslight import config as configs
from sslight import registry
from sslight.augment.draws import seed_of
from sslight.callbacks.checkpoint import Checkpoint
from sslight.data.datamodule import SSLDataModule
from sslight.module import SSLModule
from sslight.optim import Recipe


def build_data(
    config: Mapping[str, Any], trust: Sequence[str], kind: type[SSLDataModule] = SSLDataModule
) -> SSLDataModule:
    """Build the data module; views default to the method's preset, the seed to the config's."""
    node = {"seed": config.get("seed", 0), **(config.get("data") or {})}
    if node.get("views") is None:
        node["views"] = {"name": default_views(config, trust)}
    if isinstance(node.get("eval_view"), Mapping):  # the defaults of views are made for training
        node["eval_view"] = {"crop": "center", **node["eval_view"]}
    data: SSLDataModule = configs.make(kind, node, trust, key="data")
    return data


def default_views(config: Mapping[str, Any], trust: Sequence[str]) -> str:
    """Return the preset that the config's method names."""
    method = config.get("method")
    if not method:
        return "simclr"
    return str(
        getattr(registry.resolve("method", method["name"], trust), "default_views", "simclr")
    )


def build_backbone(config: Mapping[str, Any], trust: Sequence[str]) -> torch.nn.Module:
    """Build the backbone, its initial weights drawn from the seed alone."""
    torch.default_generator.manual_seed(seed_of(int(config.get("seed", 0)), 6))
    backbone: torch.nn.Module = configs.build("backbone", config["backbone"], trust)
    return backbone


def build_method(
    config: Mapping[str, Any], trust: Sequence[str], backbone: torch.nn.Module | None = None
) -> SSLModule:
    """Build the method around its recipe and its backbone, which is built unless given."""
    backbone = build_backbone(config, trust) if backbone is None else backbone
    recipe = configs.make(Recipe, config.get("optim"), trust, key="optim")
    method: SSLModule = configs.build(
        "method", config["method"], trust, backbone=backbone, optim=recipe
    )
    method.seed = int(config.get("seed", 0))
    if config.get("train_step"):
        method.train_step = configs.build("train_step", config["train_step"], trust)
    return method


def build_callbacks(config: Mapping[str, Any], trust: Sequence[str]) -> list[Callback]:
    """Build the callbacks in the order of the config; there is always one that can save.

    ``callbacks.checkpoint: null`` leaves one that saves at the end and when a signal stops the run.
    """
    nodes = config.get("callbacks") or {}
    built = configs.build_members("callback", nodes, trust, key="callbacks")
    if not any(isinstance(callback, Checkpoint) for callback in built.values()):
        built["checkpoint"] = Checkpoint(every_n_epochs=None if "checkpoint" in nodes else 1)
    return list(built.values())


@contextmanager
def folder_of_run(config: Mapping[str, Any], name: str) -> Iterator[Path]:
    """Give the run's folder; with ``trainer.fast_dev_run`` one that is gone afterwards."""
    if not (config.get("trainer") or {}).get("fast_dev_run"):
        yield run_folder(config, name)
        return
    with TemporaryDirectory(prefix="sslight-fast_dev_run-") as folder:
        yield Path(folder)
    print("trainer.fast_dev_run: everything ran; nothing was kept.", file=sys.stderr)


def run_folder(config: Mapping[str, Any], name: str) -> Path:
    """Return the run's folder: ``run_dir``, or ``runs/<config name>``."""
    return Path(config.get("run_dir") or Path("runs") / name).expanduser()
