"""``torchvision``: any of its image datasets by name, from memory where it keeps them there."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslight.data.errors import ImageError
from sslight.data.sources._labels import as_labels, classes_of, fingerprint
from sslight.data.sources._paths import file_stamp
from sslight.data.sources._pixels import to_uint8
from sslight.data.sources.base import Source

logger = logging.getLogger("sslight")

# The order of the sides of `.data`; of an EMNIST, KMNIST, ... it is MNIST's.
_IN_MEMORY = {
    "CIFAR10": "NHWC",
    "CIFAR100": "NHWC",
    "MNIST": "NHW",
    "USPS": "NHW",
    "SEMEION": "NHW",
    "SVHN": "NCHW",
    "STL10": "NCHW",
}

# What a dataset calls our split, where it is not called the same.
_SPLIT_NAMES: dict[str, dict[str, str]] = {
    "ImageNet": {"test": "val"},
    "Imagenette": {"test": "val"},
    "Places365": {"train": "train-standard", "test": "val"},
    "OxfordIIITPet": {"train": "trainval"},
    "CelebA": {"val": "valid"},
    "Country211": {"val": "valid"},
}

_OURS = ("self", "root", "train", "split", "download", "kwargs")
_TRANSFORMS = ("transform", "target_transform", "transforms")


class TorchVision(Source):
    """A dataset of ``torchvision.datasets``.

    The split becomes the dataset's own ``train`` or ``split`` argument: train is its training
    part, test its test part (the validation part of ImageNet, Imagenette and Places365, whose
    test images have no labels). Any other split name is passed on where the dataset has a
    ``split`` argument: ``splits: {unlabeled: {name: torchvision, dataset: STL10, ...}}``.
    A dataset without parts of its own holds all its images in every split.

    CIFAR, MNIST and its kin, SVHN, STL10, USPS and SEMEION are served from memory, which worker
    processes share. Grey images become RGB.

    Args:
        dataset: Name of the class, such as ``CIFAR10``; case does not matter.
        root: The folder torchvision reads from or downloads to.
        download: Fetch it if it is not there.
        extra: The dataset's other arguments, such as ``{split: letters}`` of EMNIST. ``train``
            and ``split`` here win over the split's name.
    """

    def __init__(
        self,
        dataset: str,
        root: str | Path,
        download: bool = False,
        extra: dict[str, Any] | None = None,
    ) -> None:
        self.dataset = dataset
        self.root = Path(root)
        self.download = download
        self.extra = dict(extra or {})
        self._rows: Any = None  # the torchvision dataset, or one tensor of all images
        self._order = ""
        self._fingerprint = ""

    def open(self) -> None:
        """Read (or fetch) the dataset, and its labels."""
        if self._rows is not None:
            return
        cls = _find(self.dataset)
        arguments = self._arguments(cls)
        rows = self._build(cls, arguments)
        self.labels = _labels(rows)
        self.classes = classes_of(rows, self.labels) or _attributes(rows)
        self._order = next((o for c in cls.__mro__ if (o := _IN_MEMORY.get(c.__name__))), "")
        self.in_memory = bool(self._order)
        self._rows = torch.as_tensor(rows.data) if self._order else rows
        told = sorted((k, str(v)) for k, v in arguments.items() if k not in ("root", "download"))
        kind = f"torchvision {cls.__name__} {told}"
        self._fingerprint = fingerprint(kind, len(rows), self.labels, self.classes)

    def _arguments(self, cls: type) -> dict[str, Any]:
        known = _parameters(cls)
        self._check_extra(cls, known)
        place = {"root": str(self.root)} if "root" in known else {}  # FakeData has no files
        arguments: dict[str, Any] = {**place, **self.extra}
        if self.download:
            if "download" not in known:
                raise ValueError(
                    f"data.{self.split}: torchvision cannot download {cls.__name__}. Put its files "
                    f"into {self.root} and leave out download."
                )
            arguments["download"] = True
        return {**self._part(cls, known), **arguments}

    def _check_extra(self, cls: type, known: set[str]) -> None:
        allowed = sorted(known - {"self", "root", "download", "kwargs", *_TRANSFORMS})
        unknown = [key for key in self.extra if key not in allowed]
        if unknown:
            raise ValueError(
                f"data.{self.split}.extra: {cls.__name__} has no {', '.join(map(repr, unknown))} "
                f"to set; allowed: {', '.join(allowed) or 'nothing'}. "
                "Transforms go into data.views."
            )

    def _part(self, cls: type, known: set[str]) -> dict[str, Any]:
        """Returns the argument that makes the dataset give this split."""
        if "train" in known:
            if self.split not in ("train", "test") and "train" not in self.extra:
                raise ValueError(
                    f"data: {cls.__name__} has the splits train and test, not {self.split!r}. "
                    f"Say which one is meant: extra: {{train: false}}."
                )
            return {"train": self.split == "train"}
        if "split" in known:
            return {"split": _SPLIT_NAMES.get(cls.__name__, {}).get(self.split, self.split)}
        if self.split != "train" and cls.__name__ not in ("ImageFolder", "DatasetFolder"):
            logger.warning(
                "torchvision's %s has no parts: data.%s holds all its images.",
                cls.__name__,
                self.split,
            )
        return {}

    def _build(self, cls: type, arguments: dict[str, Any]) -> Any:
        try:
            return cls(**arguments)
        except RuntimeError as error:  # "Dataset not found or corrupted"
            hint = "" if self.download else " Set download: true to fetch it, or correct root."
            said = str(error).rstrip(".")
            raise OSError(
                f"data.{self.split}: torchvision's {cls.__name__} in {self.root}: {said}.{hint}"
            ) from error
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"data.{self.split}: torchvision's {cls.__name__} refuses "
                f"{_listed(arguments)}: {error}"
            ) from error

    def __len__(self) -> int:
        self.open()
        return len(self._rows)

    def load(self, i: int) -> Tensor:
        """Returns image ``i`` as uint8 ``[C, H, W]``; a file it cannot read is an `ImageError`."""
        name = self.id(i)
        if self._order:
            row = self._rows[i]
            return to_uint8(row.permute(2, 0, 1) if self._order == "NHWC" else row, name)
        try:
            item = self._rows[i]
        except OSError as error:
            raise ImageError(name, f"cannot be read: {error}") from error
        return to_uint8(item[0] if isinstance(item, tuple) else item, name)

    def stamp(self, i: int) -> str:
        """Returns the size and time of the row's file if it lists them, and the root."""
        pair = _pairs(self._rows)[i] if _pairs(self._rows) else ("",)
        return f"{file_stamp(pair[0])} {self.root.absolute()}"

    def id(self, i: int) -> str:
        """Returns ``<dataset>/<split>/<i>``."""
        if not 0 <= i < len(self):
            raise IndexError(f"torchvision {self.dataset}: image {i} of {len(self)}")
        return f"{self.dataset}/{self.split}/{i}"

    def fingerprint(self) -> str:
        """Returns a hash of the dataset's name, arguments, labels and classes; not of its root."""
        self.open()
        return self._fingerprint


def _find(name: str) -> type:
    import torchvision.datasets as family

    known = {
        n.lower(): cls for n in family.__all__ if inspect.isclass(cls := getattr(family, n, None))
    }
    found = known.get(name.lower().replace("-", "").replace("_", ""))
    if found is None:
        from sslight.registry import did_you_mean

        names = sorted(cls.__name__ for cls in known.values())
        raise ValueError(f"data: torchvision has no dataset {name!r}.{did_you_mean(name, names)}")
    return found


def _parameters(cls: type) -> set[str]:
    """Returns the names a dataset's constructor takes, also those it hands on to its parents."""
    names: set[str] = set()
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters
        names |= set(parameters)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            break
    return names - {"self"}


def _listed(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in arguments.items())


def _labels(rows: Any) -> np.ndarray | None:
    """Returns the labels, under whichever name the dataset keeps them."""
    if hasattr(rows, "attr"):  # CelebA: forty attributes, 0 or 1
        return as_labels(rows.attr, len(rows))
    for name in ("targets", "labels", "_labels", "y"):
        labels = as_labels(getattr(rows, name, None), len(rows))
        if labels is not None and labels.ndim == 1:
            return labels
    pairs = _pairs(rows)
    return as_labels([label for _, label in pairs], len(rows)) if pairs else None


def _pairs(rows: Any) -> list[tuple[Any, Any]]:
    """Returns the (file, label) pairs of a dataset that keeps such a list, else an empty one."""
    pairs = getattr(rows, "samples", getattr(rows, "_samples", None))
    alike = isinstance(pairs, list) and pairs and isinstance(pairs[0], tuple) and len(pairs[0]) == 2
    return pairs if alike else []  # type: ignore[return-value]


def _attributes(rows: Any) -> list[str] | None:
    names = getattr(rows, "attr_names", None)
    return [name for name in names if name] if names else None
