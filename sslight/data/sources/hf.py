"""``hf``: image datasets of the Hugging Face ``datasets`` package, from the hub or from disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from sslight.augment.reduced import Reduced
from sslight.data.decode import Choice, decode, decode_reduced
from sslight.data.errors import ImageError
from sslight.data.sources._labels import as_labels, fingerprint
from sslight.data.sources.base import Source

_LABEL_NAMES = ("label", "labels", "target", "fine_label", "class", "category")


class HF(Source):
    """One split of a Hugging Face dataset; needs ``pip install "sslight[hf]"``.

    Image files are taken as stored and decoded by sslight, so that colour modes, EXIF and
    unreadable files are treated as everywhere else.

    Args:
        path: A dataset's name on the hub, a folder written by ``save_to_disk``, or a folder of
            image, Parquet, ... files that ``datasets`` can read.
        config: Name of the dataset's configuration, if it has several.
        hf_split: Its split, also as a slice: ``train[:10%]``. Default: the split's name here.
        image: Column with the images. Default: the only column of images.
        label: Column with the labels, numbers or names. Default: the class-label column, or one
            named label, target, ...; without one the images are unlabelled.
        revision: Branch, tag or commit on the hub.
        data_files: File or pattern, for ``path: parquet`` and the like.
        cache_dir: Where ``datasets`` keeps its files.
    """

    def __init__(
        self,
        path: str | Path,
        config: str | None = None,
        hf_split: str | None = None,
        image: str | None = None,
        label: str | None = None,
        revision: str | None = None,
        data_files: str | list[str] | None = None,
        cache_dir: str | Path | None = None,
    ) -> None:
        self.path = str(path)
        self.config = config
        self.hf_split = hf_split
        self.image = image
        self.label = label
        self.revision = revision
        self.data_files = data_files
        self.cache_dir = cache_dir
        self._rows: Any = None
        self._column = ""
        self._name = self.path
        self._fingerprint = ""

    def open(self) -> None:
        """Find the dataset (fetching it if need be) and read its labels; no image is decoded."""
        if self._rows is not None:
            return
        datasets = _package()
        rows = self._load(datasets)
        self._name = Path(self.path).name if Path(self.path).is_dir() else self.path
        where = f"data.{self.split}: {self.path}"
        self._column = _image_column(rows.features, self.image, where)
        label = _label_column(rows.features, self.label, where)
        self.labels, self.classes = (None, None) if label is None else _labels(rows, label)
        kind = f"hf {self.hf_split or self.split} {self._column} {label}"
        self._fingerprint = fingerprint(kind, len(rows), self.labels, self.classes)
        images = rows.select_columns([self._column])
        self._rows = images.cast_column(self._column, datasets.Image(decode=False))

    def _load(self, datasets: Any) -> Any:
        wanted = self.hf_split or self.split
        folder = Path(self.path)
        if (folder / "dataset_dict.json").exists():
            return _pick(datasets.load_from_disk(self.path), wanted, self.path)
        if (folder / "state.json").exists():
            return datasets.load_from_disk(self.path)
        try:
            return datasets.load_dataset(
                self.path,
                self.config,
                split=wanted,
                revision=self.revision,
                data_files=self.data_files,
                cache_dir=None if self.cache_dir is None else str(self.cache_dir),
            )
        except ValueError as error:  # an unknown split or configuration
            raise ValueError(
                f"data.{self.split}: {self.path}, split {wanted!r}: {error} "
                "(set hf_split to the dataset's own name of the split)"
            ) from error

    def __len__(self) -> int:
        self.open()
        return len(self._rows)

    def load(self, i: int) -> Tensor:
        """Returns image ``i`` as uint8 ``[3, H, W]``; one it cannot read is an `ImageError`."""
        return decode(self._bytes(i), self.id(i))

    def load_reduced(self, i: int, choose: Choice) -> Tensor | Reduced:
        """Returns image ``i`` divided by what ``choose`` gives; see `Source.load_reduced`."""
        return decode_reduced(self._bytes(i), self.id(i), choose)

    def _bytes(self, i: int) -> bytes:
        name = self.id(i)
        stored = self._rows[i][self._column]
        if stored is None:
            raise ImageError(name, "the row holds no image")
        data: bytes | None = stored["bytes"]
        if data is not None:
            return data
        try:
            return Path(stored["path"]).read_bytes()
        except OSError as error:
            raise ImageError(name, f"cannot be read: {error}") from error

    def stamp(self, i: int) -> str:
        """Return the hash that ``datasets`` keeps of everything that made these rows."""
        del i
        self.open()
        return str(getattr(self._rows, "_fingerprint", ""))

    def id(self, i: int) -> str:
        """Returns ``<dataset>/<split>/<i>``; of a folder on disk, its last name."""
        if not 0 <= i < len(self):
            raise IndexError(f"hf {self.path}: image {i} of {len(self)}")
        return f"{self._name}/{self.hf_split or self.split}/{i}"

    def fingerprint(self) -> str:
        """Returns a hash of split, columns, labels and classes; not of where the dataset lies."""
        self.open()
        return self._fingerprint


def _package() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise ImportError(
            'The source hf needs the package `datasets`. Install it with: pip install "sslight[hf]"'
        ) from error
    return datasets


def _pick(parts: Any, wanted: str, path: str) -> Any:
    if wanted not in parts:
        raise ValueError(
            f"data: {path} has the splits {', '.join(parts)}, not {wanted!r}. Set hf_split."
        )
    return parts[wanted]


def _image_column(features: Any, asked: str | None, where: str) -> str:
    columns = [name for name, kind in features.items() if type(kind).__name__ == "Image"]
    if asked is not None:
        if asked not in columns:
            raise ValueError(f"{where}: image={asked!r} is not a column of images: {columns}.")
        return asked
    if len(columns) != 1:
        raise ValueError(
            f"{where}: {len(columns)} of the columns {list(features)} hold images ({columns}). "
            "Set image to the one to use."
        )
    return str(columns[0])


def _label_column(features: Any, asked: str | None, where: str) -> str | None:
    if asked is not None:
        if asked not in features:
            raise ValueError(f"{where}: label={asked!r} is not a column: {list(features)}.")
        return asked
    named = [name for name, kind in features.items() if type(kind).__name__ == "ClassLabel"]
    if len(named) == 1:
        return str(named[0])
    return next((name for name in _LABEL_NAMES if name in (named or features)), None)


def _labels(rows: Any, column: str) -> tuple[np.ndarray, list[str] | None]:
    values = rows.select_columns([column])[:][column]
    values = [-1 if value is None else value for value in values]
    if any(isinstance(value, str) for value in values):
        names = sorted({value for value in values if isinstance(value, str)})
        number = {name: i for i, name in enumerate(names)}
        return np.array([number.get(value, -1) for value in values], dtype=np.int64), names
    labels = as_labels(values, len(values))
    if labels is None:
        raise ValueError(
            f"data: column {column!r} holds neither class numbers nor names "
            f"(first: {values[0]!r}). Set label to another column."
        )
    classes = getattr(rows.features[column], "names", None)
    return labels, None if classes is None else list(classes)
