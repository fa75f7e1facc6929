"""Reading a feature store: memory-mapped arrays, labels and ids; numpy only."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sslight.backbones.spec import did_you_mean
from sslight.errors import RefusedRunError
from sslight.features.ids import PackedIds
from sslight.features.manifest import FILE, Manifest, SplitEntry, layer_file


def load_features(path: str | os.PathLike[str], *, partial: bool = False) -> FeatureStore:
    """Open a feature store (or a run folder that holds one under ``features/``).

    ``load_features("runs/x")["train"].array()`` is a memory-mapped ``[N, D]``.

    Args:
        path: The store's folder or the run's; what ``fit`` or ``extract`` returned stands for it.
        partial: Also open splits whose extraction has not finished (their missing rows are 0).

    Raises:
        FileNotFoundError: there are no features there.
    """
    root = Path(path).expanduser()
    if not (root / FILE).is_file() and (root / "features" / FILE).is_file():
        root = root / "features"
    manifest = Manifest.read(root)
    if manifest is None:
        raise FileNotFoundError(
            f"{root} holds no features ({FILE} is missing). Make them with `sslight extract "
            "--config ...`; shards of several machines are put together by "
            "sslight.features.writer.merge_shards."
        )
    return FeatureStore(root, manifest, partial=partial)


class FeatureStore(Mapping[str, "Split"]):
    """The splits of a store by name; ``manifest`` says what made them."""

    def __init__(self, root: Path, manifest: Manifest, *, partial: bool = False):
        self.root, self.manifest, self._partial = root, manifest, partial

    def __fspath__(self) -> str:
        """The folder: the store may be given wherever one is asked for."""
        return str(self.root)

    @property
    def layers(self) -> list[str]:
        """Names of the stored layers, in the order they were asked for."""
        return list(self.manifest.layers)

    def __getitem__(self, name: str) -> Split:
        if name not in self.manifest.splits:
            raise KeyError(
                f"{self.root} has no split {name!r}.{did_you_mean(name, self)} "
                f"It has: {', '.join(self)}."
            )
        split = Split(self.root / name, name, self.manifest, self.manifest.splits[name])
        if not self._partial and not split.complete:
            raise RefusedRunError(
                f"{split.folder}: {len(split) - int(split.done.sum())} of {len(split)} rows are "
                "not extracted yet. Run the same `sslight extract` again, it continues; or open it "
                "with load_features(..., partial=True)."
            )
        return split

    def __iter__(self) -> Iterator[str]:
        return iter(self.manifest.splits)

    def __len__(self) -> int:
        return len(self.manifest.splits)

    def __contains__(self, name: object) -> bool:
        return name in self.manifest.splits

    def complete(self, name: str) -> bool:
        """Whether a split is there with all its rows."""
        if name not in self:
            return False
        return Split(self.root / name, name, self.manifest, self.manifest.splits[name]).complete

    def describe(self) -> str:
        """What is stored, in a few lines: what made it, layers, splits."""
        told, made = self.manifest.backbone, self.manifest.meta.get("source")
        name = told["name"] if isinstance(told, dict) else told
        lines = [f"{self.root}: features of {name}" + (f" from {made}" if made else "")]
        for layer, entry in self.manifest.layers.items():
            shape = "x".join(map(str, entry.shape))
            lines.append(f"  layer {layer}: {shape} {np.dtype(entry.dtype).name} per image")
        for split, stored in self.manifest.splits.items():
            rows = Split(self.root / split, split, self.manifest, stored)
            parts = [f"{stored.count} images"]
            parts += (
                [f"{len(stored.classes)} classes"] if stored.labelled and stored.classes else []
            )
            parts += [] if rows.complete else [f"only {int(rows.done.sum())} extracted"]
            bad = int((rows.done & ~rows.ok).sum())
            parts += [f"{bad} unreadable"] if bad else []
            lines.append(f"  split {split}: {', '.join(parts)}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        splits = ", ".join(f"{name} {e.count}" for name, e in self.manifest.splits.items())
        return f"FeatureStore({self.root}: {splits}; layers {', '.join(self.layers)})"


class Split:
    """One split of a store. Row i belongs to image i of the data; nothing is read before use."""

    def __init__(self, folder: Path, name: str, manifest: Manifest, entry: SplitEntry):
        self.folder, self.name, self.entry, self._manifest = folder, name, entry, manifest

    def __len__(self) -> int:
        return self.entry.count

    @property
    def layers(self) -> list[str]:
        """Names of the stored layers."""
        return list(self._manifest.layers)

    @property
    def classes(self) -> list[str] | None:
        """Class names in the order of their ids, where known."""
        return self.entry.classes

    def array(self, layer: str | None = None) -> np.ndarray:
        """The features ``[N, ...]`` of a layer (default: the first), memory-mapped."""
        array: np.ndarray = np.load(self.folder / layer_file(self._layer(layer)), mmap_mode="r")
        return array

    __getitem__ = array

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """All layers."""
        return {name: self.array(name) for name in self.layers}

    @cached_property
    def labels(self) -> np.ndarray | None:
        """``[N]`` class ids (-1 = none) or ``[N, K]``; ``None`` for data without labels."""
        path = self.folder / "labels.npy"
        return np.load(path, mmap_mode="r") if path.is_file() else None

    @cached_property
    def ids(self) -> PackedIds:
        """Path or name of every image; a sequence that stays on disk."""
        return PackedIds(self.folder)

    @property
    def ok(self) -> np.ndarray:
        """``[N]`` bool: false where the image could not be read (its features are NaN)."""
        return self._bytes("ok")

    @property
    def done(self) -> np.ndarray:
        """``[N]`` bool: whether the row has been extracted."""
        return self._bytes("done")

    @property
    def complete(self) -> bool:
        """Whether every row has been extracted."""
        return bool(self.done.all())

    def torch(self, layer: str | None = None) -> tuple[Any, Any]:
        """Features and labels (or ``None``) as tensors in memory."""
        import torch

        labels = None if self.labels is None else torch.from_numpy(np.array(self.labels))
        return torch.from_numpy(np.array(self.array(layer))), labels

    def pandas(self, layer: str | None = None) -> Any:
        """A data frame with ``id``, ``label``, ``class``, ``ok`` and one column per feature."""
        from sslight.features.tables import to_pandas

        return to_pandas(self, self._layer(layer))

    def parquet(self, path: str | Path, layers: list[str] | None = None) -> Path:
        """Write ``id``, ``label``, ``class``, ``ok`` and each layer (a list per row) as Parquet."""
        from sslight.features.tables import to_parquet

        return to_parquet(self, Path(path), self._chosen(layers))

    def csv(self, path: str | Path, layers: list[str] | None = None) -> Path:
        """Write ``id``, ``label``, ``class``, ``ok`` and a column per number of a layer as CSV."""
        from sslight.features.tables import to_csv

        return to_csv(self, Path(path), self._chosen(layers))

    def npz(self, path: str | Path, layers: list[str] | None = None) -> Path:
        """Write each layer, ``labels``, ``ids`` and ``ok`` for ``numpy.load``, uncompressed."""
        from sslight.features.tables import to_npz

        return to_npz(self, Path(path), self._chosen(layers))

    def _chosen(self, layers: list[str] | None) -> list[str]:
        return [self._layer(name) for name in layers or self.layers]

    def _bytes(self, name: str) -> np.ndarray:
        return np.fromfile(self.folder / name, np.uint8).astype(bool)

    def _layer(self, layer: str | None) -> str:
        if layer is None:
            return self.layers[0]
        if layer not in self.layers:
            raise KeyError(
                f"{self.folder} has no layer {layer!r}.{did_you_mean(layer, self.layers)} "
                f"It has: {', '.join(self.layers)}."
            )
        return layer

    def __repr__(self) -> str:
        shapes = {n: [len(self), *e.shape] for n, e in self._manifest.layers.items()}
        return f"Split({self.folder}: {shapes})"
