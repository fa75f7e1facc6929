"""Toy members of every family, so that these tests need nothing but the config code."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import pytorch_lightning  # noqa: F401  (sets environment variables when it is first imported)

from sslight import registry
from sslight.config import sections
from sslight.data.sources.base import Source
from sslight.schedules import Schedule


@dataclass(frozen=True)
class Crop:
    size: int
    scale: tuple[float, float] = (0.2, 1.0)
    blur: float = 0.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be at least 1, got {self.size}.")


class ToySource:
    def __init__(self, root: Path, num: int = 10, labels: Literal["auto", "none"] = "auto") -> None:
        self.root, self.num, self.labels = root, num, labels


class ToyMethod:
    def __init__(
        self, backbone: Any, optim: Any = None, *, temperature: float | Schedule = 0.1, dim: int = 8
    ) -> None:
        if isinstance(temperature, float) and temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}.")
        self.backbone, self.optim = backbone, optim
        self.temperature, self.dim = temperature, dim


class ToyCallback:
    def __init__(self, k: int | list[int] = 20, *, period: int = 1, split: str = "test") -> None:
        self.k, self.period, self.split = k, period, split


class ToyEval:
    def __init__(self, k: list[int] | None = None) -> None:
        self.k = k


def toy_backbone(*, stem: Literal["imagenet", "small"] = "imagenet", width: int = 64) -> str:
    return f"{stem}-{width}"


def toy_step(method: Any, batch: Any, *, chunk: int) -> tuple[Any, Any, int]:
    return method, batch, chunk


class Data:
    def __init__(
        self,
        train: Source | None = None,
        *,
        splits: dict[str, Source] | None = None,
        views: list[Crop] | None = None,
        batch_size: int = 256,
        workers: int | Literal["auto"] = "auto",
        seed: int = 0,
    ) -> None:
        self.train, self.splits, self.views = train, splits, views
        self.batch_size, self.workers, self.seed = batch_size, workers, seed


@dataclass(frozen=True)
class Recipe:
    optimizer: str = "sgd"
    lr: float | Schedule = 0.1
    weight_decay: float = 0.0
    warmup_epochs: float = 0.0
    momentum: float | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.weight_decay < 0:
            raise ValueError(f"optim.weight_decay must not be negative, got {self.weight_decay}.")


@dataclass(frozen=True)
class ExtractOptions:
    splits: list[str] | None = None
    dtype: Literal["float16", "float32"] = "float32"


CLASSES = {"data": Data, "optim": Recipe, "extract": ExtractOptions}
MEMBERS = {
    ("method", "toy"): ToyMethod,
    ("backbone", "tiny"): toy_backbone,
    ("source", "toyfolder"): ToySource,
    ("callback", "toyknn"): ToyCallback,
    ("eval", "toyeval"): ToyEval,
    ("train_step", "chunked"): toy_step,
}


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    for place, thing in MEMBERS.items():
        monkeypatch.setitem(registry._registered, place, thing)
    monkeypatch.setattr(sections, "section_class", CLASSES.__getitem__)


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a config file and returns its path."""

    def write(text: str, name: str = "my.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write
