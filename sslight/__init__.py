"""Self-supervised image pretraining on PyTorch Lightning.

Public names are imported when they are first used, so ``import sslight`` is instant::

    from sslight import Recipe, SSLDataModule, SimCLR, backbone

Every method is a public name too, under its class name.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what editors and type checkers see; `__getattr__` does the rest
    from sslight.augment import ViewSpec as ViewSpec
    from sslight.augment import make_views as make_views
    from sslight.augment import views as views
    from sslight.backbones import backbone as backbone
    from sslight.backbones.protocol import as_backbone as as_backbone
    from sslight.checkpoints import load_backbone as load_backbone
    from sslight.config import ConfigError as ConfigError
    from sslight.data.datamodule import SSLDataModule as SSLDataModule
    from sslight.data.limit import Limit as Limit
    from sslight.data.sources.base import Source as Source
    from sslight.features import load_features as load_features
    from sslight.module import SSLModule as SSLModule
    from sslight.optim import ParamRule as ParamRule
    from sslight.optim import Recipe as Recipe
    from sslight.registry import register as register
    from sslight.run import load_method as load_method
    from sslight.run.evaluate import evaluate as evaluate
    from sslight.run.export import export as export
    from sslight.run.extract import extract as extract
    from sslight.run.fit import fit as fit
    from sslight.run.query import query as query
    from sslight.run.report import report as report
    from sslight.schedules import Clock as Clock
    from sslight.schedules import Schedule as Schedule
    from sslight.train_steps import get_train_step as get_train_step
    from sslight.train_steps import register_train_step as register_train_step
    from sslight.types import Batch as Batch
    from sslight.types import StepOutput as StepOutput

#: Public name -> the module that defines it.
_HOMES = {
    "Batch": "sslight.types",
    "Clock": "sslight.schedules",
    "ConfigError": "sslight.config",
    "Limit": "sslight.data.limit",
    "ParamRule": "sslight.optim",
    "Recipe": "sslight.optim",
    "SSLDataModule": "sslight.data.datamodule",
    "SSLModule": "sslight.module",
    "Schedule": "sslight.schedules",
    "Source": "sslight.data.sources.base",
    "StepOutput": "sslight.types",
    "ViewSpec": "sslight.augment",
    "as_backbone": "sslight.backbones.protocol",
    "backbone": "sslight.backbones",
    "evaluate": "sslight.run",
    "export": "sslight.run",
    "extract": "sslight.run",
    "fit": "sslight.run",
    "get_train_step": "sslight.train_steps",
    "load_backbone": "sslight.checkpoints",
    "load_features": "sslight.features",
    "load_method": "sslight.run",
    "make_views": "sslight.augment",
    "query": "sslight.run",
    "register": "sslight.registry",
    "register_train_step": "sslight.train_steps",
    "report": "sslight.run",
    "views": "sslight.augment",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name == "__version__":
        return _version()
    if name.startswith("_"):
        raise AttributeError(f"module 'sslight' has no attribute {name!r}")
    home = _HOMES.get(name) or _method_home(name)
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names beside what is already imported."""
    return sorted({*globals(), *_HOMES, *(name for name, _ in _methods())})


def _method_home(name: str) -> str:
    """Return the module of the method class of that name.

    Raises:
        AttributeError: There is none.
    """
    for class_name, home in _methods():
        if class_name == name:
            return home
    from sslight.registry import suggestion

    known = [*_HOMES, *(name for name, _ in _methods())]
    raise AttributeError(f"module 'sslight' has no attribute {name!r}.{suggestion(name, known)}")


def _methods() -> list[tuple[str, str]]:
    from sslight.registry import scan

    homes = [(f"sslight.methods.{stem}", stem) for stem in scan.files("sslight.methods")]
    return [(name, home) for home, stem in homes if (name := scan.member(home, stem))]


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sslight")
    except PackageNotFoundError:
        return "0+uninstalled"
