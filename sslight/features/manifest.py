"""``manifest.json``: what made the features, and whether an extraction may continue them."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VERSION = 1
FILE = "manifest.json"
_RESERVED = ("labels", "ids", "ids.offsets", "done", "ok")


@dataclass(frozen=True)
class LayerEntry:
    """One stored layer: shape of a row, numpy type, the sub-module it came from, its pooling."""

    shape: tuple[int, ...]
    dtype: str
    path: str = ""
    pooling: str = "none"


@dataclass(frozen=True)
class SplitEntry:
    """One stored split: its rows, the hash of the index they came from, the class names."""

    count: int
    fingerprint: str
    classes: list[str] | None = None
    labelled: bool = False


@dataclass
class Manifest:
    """Everything that decides the numbers in a store.

    Attributes:
        backbone: Its name and arguments, or the class of a module of the user's own.
        weights: ``sha256`` of the weights, ``which`` (main, ema, student) and ``source``.
        view: Fields of the evaluation view's spec.
        layers: Name to entry.
        splits: Name to entry.
        meta: Whatever the writer adds; it does not decide anything.
        decode: How the images were decoded, ``exact`` or ``draft``.
    """

    backbone: Any
    weights: dict[str, Any]
    view: dict[str, Any] | None
    layers: dict[str, LayerEntry] = field(default_factory=dict)
    splits: dict[str, SplitEntry] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    decode: str = "exact"

    def to_json(self) -> str:
        """As text."""
        return json.dumps({"version": VERSION, **dataclasses.asdict(self)}, indent=1, default=str)

    @classmethod
    def read(cls, root: Path, file: str = FILE) -> Manifest | None:
        """The manifest of a folder, or ``None`` where there is none."""
        path = root / file
        if not path.is_file():
            return None
        data = json.loads(path.read_text())
        version = data.pop("version", None)
        if version != VERSION:
            raise ValueError(f"{path}: version {version}; this sslight reads version {VERSION}.")
        layers = {
            name: LayerEntry(**{**entry, "shape": tuple(entry["shape"])})
            for name, entry in data.pop("layers").items()
        }
        splits = {name: SplitEntry(**entry) for name, entry in data.pop("splits").items()}
        return cls(**data, layers=layers, splits=splits)

    def differences(self, other: Manifest) -> list[str]:
        """In words, what decides the numbers and differs; shapes not yet known do not count."""
        found = []
        if _plain(self.backbone) != _plain(other.backbone):
            found.append(f"backbone: there {self.backbone}, now {other.backbone}")
        if self.weights.get("sha256") != other.weights.get("sha256"):
            found.append(f"weights: there {_short(self.weights)}, now {_short(other.weights)}")
        there, now = _changed(self.view, other.view)
        if there != now:
            found.append(f"view: there {there}, now {now}")
        if self.decode != other.decode:
            found.append(f"decode: there {self.decode}, now {other.decode}")
        mine, theirs = _asked(self.layers), _asked(other.layers)
        if mine != theirs:
            found.append(f"layers: there {mine}, now {theirs}")
        return found


def _changed(there: Any, now: Any) -> tuple[Any, Any]:
    """Both views, reduced to the fields in which they differ.

    A field that one of them lacks came with a later version, and has its default there.
    """
    if there is None or now is None:
        return there, now
    from sslight.augment.spec import ViewSpec  # needs torch, which reading does without

    fields = dataclasses.fields(ViewSpec)
    usual = {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
    there, now = ({**_plain(usual), **_plain(view)} for view in (there, now))
    names = [name for name in {**there, **now} if there.get(name) != now.get(name)]
    return {name: there.get(name) for name in names}, {name: now.get(name) for name in names}


def _asked(layers: dict[str, LayerEntry]) -> dict[str, str]:
    return {n: f"{e.path or 'output'}:{e.pooling}:{e.dtype}" for n, e in sorted(layers.items())}


def _short(weights: dict[str, Any]) -> str:
    return f"{weights.get('which', 'main')} {str(weights.get('sha256'))[:12]}"


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def layer_file(name: str) -> str:
    """File name of a layer: unusual characters become ``_``, reserved names get one in front."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    return f"_{safe}.npy" if safe in _RESERVED else f"{safe}.npy"
