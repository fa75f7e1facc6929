"""What is evaluated (:class:`Subject`) and what comes out (:class:`Result`)."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sslight.distributed import all_reduce_max
from sslight.errors import RefusedRunError
from sslight.features.store import FeatureStore, Split, load_features
from sslight.utils import write_atomically

if TYPE_CHECKING:
    import torch
    from torch import nn

    from sslight.augment.spec import ViewSpec
    from sslight.data.sources.base import Source
    from sslight.eval._images import ImageTable
    from sslight.eval._training import Trained, Training
    from sslight.features.extract import ExtractOptions
    from sslight.features.manifest import Manifest

logger = logging.getLogger("sslight")


class Subject:
    """Features, and where there are some, the backbone and images behind them.

    Args:
        store: A feature store or its folder. It need not exist if a backbone and data are given:
            splits that a protocol asks for are then extracted into it, once.
        backbone: The evaluated network, on ``device``.
        datamodule: The data.
        options: How features are extracted (layers, type, batch size).
        device: Where to compute.
        meta: Plain values for the store's manifest.
        trainer: Fits ``supervised`` on top of the backbone: called with a label and a
            :class:`sslight.eval._training.Training`.
        extractor: Writes features of the backbone into the store, as
            :func:`sslight.features.extract.extract_features` does, which is the default.
        name: What tables call this subject.
    """

    def __init__(
        self,
        store: FeatureStore | str | Path,
        *,
        backbone: nn.Module | None = None,
        datamodule: Any = None,
        options: ExtractOptions | None = None,
        device: torch.device | str = "cpu",
        meta: Mapping[str, Any] | None = None,
        trainer: Callable[[Subject, str, Training], Trained] | None = None,
        extractor: Callable[..., Any] | None = None,
        name: str = "",
    ):
        self.name, self._trainer, self._extractor = name, trainer, extractor
        self.root = store.root if isinstance(store, FeatureStore) else Path(store)
        self._store = store if isinstance(store, FeatureStore) else None
        self._backbone, self._datamodule = backbone, datamodule
        self._options, self._meta = options, meta
        self.device = device
        self._current: set[str] = set()  # splits whose features are known to be the backbone's

    @property
    def backbone(self) -> nn.Module:
        """The network; an error on a bare store."""
        backbone: nn.Module = self._need(self._backbone, "a backbone")
        return backbone

    @property
    def has_backbone(self) -> bool:
        """Whether there are a network and images, not only stored features."""
        return self._backbone is not None and self._datamodule is not None

    @property
    def has_views(self) -> bool:
        """Whether there are a backbone and images that can be augmented as in training."""
        return self.has_backbone and hasattr(self._datamodule, "augmented")

    def images(self, split: str, batch_size: int | None = None) -> Iterator[Any]:
        """Clean-view batches of a split on the device; an error on a bare store."""
        datamodule = self._need(self._datamodule, "images")
        for raw in datamodule.eval_loader(split, batch_size=batch_size):
            yield datamodule.finish(raw, self.device)

    def views(self, split: str, rows: np.ndarray) -> Iterator[Any]:
        """Batches of some rows in the views of training; an error on a bare store."""
        datamodule = self._need(self._datamodule, "images").augmented()
        for raw in datamodule.eval_loader(split, rows=rows):
            yield datamodule.finish(raw, self.device)

    @property
    def clean_view(self) -> ViewSpec:
        """The view in which images are evaluated; an error on a bare store."""
        view: ViewSpec = self._need(self._datamodule, "images").clean_view()
        return view

    def source(self, split: str) -> Source:
        """The images of a split and their labels, opened; an error on a bare store."""
        source: Source = self._need(self._datamodule, "images").source(split)
        return source

    def train(self, label: str, training: Training) -> Trained:
        """Fit ``supervised`` on a copy of the backbone, or go on with it where it was stopped.

        Args:
            label: Names the folder of that run.
            training: What to fit.
        """
        trained: Trained = self._need(self._trainer, "a backbone")(self, label, training)
        return trained

    @property
    def data_options(self) -> dict[str, Any]:
        """How images are read: workers, what happens to unreadable ones."""
        data = self._need(self._datamodule, "images")
        names = ("workers", "on_error", "pin_memory", "prefetch", "eval_batch_size")
        return {name: getattr(data, name) for name in names}

    def say_bad_images(self) -> None:
        """Log which images could not be read, if any."""
        if self._datamodule is not None:
            self._datamodule.bad_images.say()

    def features(self, split: str, layer: str | None = None) -> np.ndarray:
        """Features ``[N, ...]`` of a split, memory-mapped, in dataset order."""
        rows = self.split(split)
        if layer is not None and layer not in rows.layers:
            raise RefusedRunError(
                f"{self.root} has no layer {layer!r} of {split!r}; it has "
                f"{', '.join(rows.layers)}. extract.layers says which are made."
            )
        return rows.array(layer)

    def labels(self, split: str) -> np.ndarray:
        """Labels of a split; an error where there are none."""
        labels = self.split(split).labels if self.is_labelled(split) else None
        if labels is None:
            raise RefusedRunError(
                f"The split {split!r} in {self.root} has no labels, and this protocol needs them."
            )
        return labels

    def classes(self, split: str = "train") -> list[str] | None:
        """Class names in the order of their ids, where known."""
        return self.split(split).classes

    @property
    def layers(self) -> list[str]:
        """Names of the stored layers."""
        if self._store is None and self.has_backbone and not (self.root / "manifest.json").exists():
            self.split(self._datamodule.split_names[0])
        return self._opened().layers

    @property
    def split_names(self) -> list[str]:
        """Names of the splits that are stored or can be."""
        return list(self._datamodule.split_names if self.has_backbone else self._opened())

    def is_labelled(self, split: str) -> bool:
        """Whether a split has labels; nothing is extracted."""
        if self.has_backbone:
            return self._datamodule.labels(split) is not None
        return self.split(split).labels is not None

    @property
    def manifest(self) -> Manifest:
        """What made the features."""
        _ = self.layers
        return self._opened().manifest

    def split(self, name: str) -> Split:
        """A split of the store, extracted now if it is not complete and can be.

        Raises:
            RefusedRunError: The store holds features of other weights, views or images.
        """
        if self.has_backbone and name not in self._current:
            self._make_current(name)
        store = self._opened()
        if name not in store:
            raise RefusedRunError(
                f"{self.root} has features of {', '.join(store) or 'no split'}, not of {name!r}. "
                f"`sslight extract --config ... extract.splits=[{name}]` makes them."
            )
        return store[name]

    def _opened(self) -> FeatureStore:
        if self._store is None:
            self._store = load_features(self.root)
        return self._store

    def _make_current(self, split: str) -> None:
        from sslight.features.extract import ExtractOptions, extract_features, is_extracted

        options = dataclasses.replace(self._options or ExtractOptions(), splits=[split])
        made_of = self.backbone, self._datamodule, options, self.root
        if all_reduce_max(not is_extracted(*made_of)):  # a rank may look while another writes
            write = self._extractor or extract_features
            write(*made_of, device=self.device, meta=self._meta)
            self._store = None
        self._current.add(split)

    def _need(self, thing: Any, what: str) -> Any:
        if thing is None:
            raise RefusedRunError(
                f"This protocol needs {what}, but {self.root} holds features only. Run it on the "
                "training run: `sslight eval --config <its config.yaml>`."
            )
        return thing


@dataclass(repr=False)
class Result:
    """The figures of one protocol.

    Attributes:
        protocol: Its name.
        metrics: Name to value, accuracies in [0, 1].
        options: What it was run with.
        n: Number of evaluated images.
        seconds: Time it took, extraction not included.
        rows: The same figures as a table: one dict per setting, same keys in each.
        intervals: Lower and upper end of the 95 % interval of some metrics.
        images: What was found for each image; written beside the JSON file, not into it.
    """

    protocol: str
    metrics: dict[str, float]
    options: dict[str, Any] = field(default_factory=dict)
    n: int = 0
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    images: ImageTable | None = field(default=None, compare=False, repr=False)

    def __repr__(self) -> str:
        figures = ", ".join(f"{name} {value:.4g}" for name, value in self.metrics.items())
        return f"Result({self.protocol}, {self.n} images: {figures})"

    def to_json(self) -> str:
        """As text."""
        fields = dataclasses.asdict(dataclasses.replace(self, images=None))
        del fields["images"]
        return json.dumps(fields, indent=1, default=str)

    def save(self, path: str | Path) -> None:
        """Write the result to a JSON file, and the table of images beside it, atomically."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.images is not None:
            written = self.images.write(target.with_suffix(""))
            logger.info("%s: one row for each of %d images.", written, len(self.images))
        write_atomically(target, self.to_json().encode())

    def table(self) -> Any:
        """A ``rich`` table of the figures."""
        from rich.table import Table

        rows = self.rows or [{"metric": k, "value": v} for k, v in self.metrics.items()]
        title = f"{self.protocol}: {self.n} images, {self.seconds:.1f} s"
        table = Table(title=title, min_width=len(title))
        for column in rows[0] if rows else ("metric", "value"):
            table.add_column(column, justify="right")
        for row in rows:
            table.add_row(*(f"{v:.4f}" if isinstance(v, float) else str(v) for v in row.values()))
        return table

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=100, color_system=None)
        with console.capture() as capture:
            console.print(self.table())
        return capture.get().rstrip()
