"""A VISSL config that knows which of its keys were read, so that the others can be told."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: What a config says when it says nothing.
SILENT: tuple[Any, ...] = (None, False, "", 0, -1, [], {})

_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


class NotVisslError(ValueError):
    """The file is no VISSL config; the text says what it lacks."""


@dataclass(frozen=True)
class Note:
    """Something that a conversion has to say about a key of the VISSL file."""

    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.key}: {self.text}"


class VisslTree:
    """The keys of a VISSL config by full name, without ``config.``.

    Args:
        tree: The file's content, with or without the ``config`` at its root.

    Attributes:
        notes: What was told so far.

    Raises:
        NotVisslError: It has neither ``MODEL`` nor ``OPTIMIZER``.
    """

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self.notes: list[Note] = []
        root = tree["config"] if isinstance(tree.get("config"), Mapping) else tree
        _recognise(root)
        self._leaves = {_modern(key): _scalars(value) for key, value in _leaves(root)}
        self._read: set[str] = set()
        if "defaults" in tree:
            self.tell(
                "defaults",
                "Hydra's list of further files is not read. Convert the composed file instead, "
                "`train_config.yaml` in the folder of a run, or write those keys into this one.",
            )

    def get(self, key: str, default: Any = None) -> Any:
        """Return a key's value and mark it as read; ``default`` where it is absent or null."""
        self._read.add(key)
        value = self._leaves.get(key)
        return default if value is None else value

    def number(self, key: str, default: float) -> float:
        """Return a number, also one that YAML takes for text, such as ``1e-08``."""
        return as_number(self.get(key, default))

    def whole(self, key: str, default: int) -> int:
        """Return a whole number."""
        return int(self.number(key, default))

    def has(self, key: str) -> bool:
        """Whether the file says something about a key or a section; nothing is marked."""
        return any(
            (name == key or name.startswith(f"{key}.")) and value is not None
            for name, value in self._leaves.items()
        )

    def section(self, key: str) -> dict[str, Any]:
        """Return a section as nested mappings, and mark all of it as read."""
        found: dict[str, Any] = {}
        for name, value in self._leaves.items():
            if name.startswith(f"{key}."):
                self._read.add(name)
                *parents, last = name[len(key) + 1 :].split(".")
                node = found
                for parent in parents:
                    node = node.setdefault(parent, {})
                node[last] = value
        return found

    def tell(self, key: str, text: str) -> None:
        """Note something about a key, once."""
        note = Note(key, text)
        if note not in self.notes:
            self.notes.append(note)

    def left(self) -> dict[str, Any]:
        """Return the keys that nobody read and that say something."""
        return {
            key: value
            for key, value in self._leaves.items()
            if key not in self._read and value not in SILENT
        }


def as_number(value: Any) -> float:
    """Return a number as an int where it is whole; text such as ``1e-08`` is read.

    Raises:
        NotVisslError: It is no number.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise NotVisslError(f"expected a number in the VISSL file, got {value!r}.") from None
    return int(number) if isinstance(value, int) else number


def _recognise(root: Mapping[str, Any]) -> None:
    if "method" in root and "backbone" in root:
        raise NotVisslError("this is a config of sslight's already: it has method and backbone.")
    if not {"MODEL", "OPTIMIZER"} & set(root):
        raise NotVisslError(
            "this is no VISSL config: neither MODEL nor OPTIMIZER stands in it, nor below "
            "`config:`. A file that only changes another one has to be merged into it first; "
            "VISSL writes the whole as train_config.yaml into the folder of a run."
        )


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        full = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, full)
        else:
            yield full, value


def _scalars(value: Any) -> Any:
    """Read text as VISSL's YAML does: ``False`` and ``1e-08`` are no text there."""
    if isinstance(value, list):
        return [_scalars(entry) for entry in value]
    if isinstance(value, Mapping):
        return {key: _scalars(entry) for key, entry in value.items()}
    if not isinstance(value, str):
        return value
    if value.lower() in _WORDS:
        return _WORDS[value.lower()]
    return float(value) if _NUMBER.fullmatch(value) else value


def _modern(key: str) -> str:
    """Return the place of a key in VISSL's last version."""
    return key.replace("MODEL.TRUNK.TRUNK_PARAMS.", "MODEL.TRUNK.").replace("CRITERION.", "LOSS.")
