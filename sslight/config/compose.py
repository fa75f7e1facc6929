"""From a file, its ``_base_`` files and overrides to one plain dict."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from sslight.config.errors import ConfigError, Problem
from sslight.config.merge import COMMAND_LINE, expand, merge, overrides_tree
from sslight.config.parse import Document, parse
from sslight.registry import closest
from sslight.utils import write_atomically

#: Where shipped configs are: in the wheel, or beside the package in a source checkout.
_PACKAGE = Path(__file__).resolve().parents[1]
SHIPPED = (_PACKAGE / "_configs", _PACKAGE.parent / "configs")


class Config(dict[str, Any]):
    """A composed config: a plain dict that remembers where it came from.

    In the dict interpolations are not filled in and scalars are as written;
    :func:`sslight.config.checked` gives the tree to work with.

    Attributes:
        path: The file; None for a config made in Python.
        name: That of a shipped config; else the file's without suffix, or its folder's for a run's
            ``config.yaml``.
        origins: ``file:line`` or ``command line`` by full key.
    """

    def __init__(
        self,
        tree: Mapping[str, Any] | None = None,
        *,
        origins: Mapping[str, str] | None = None,
        path: Path | None = None,
        name: str = "run",
    ) -> None:
        super().__init__(tree or {})
        self.origins = dict(origins or {})
        self.path = path
        self.name = name

    @property
    def text(self) -> str:
        """The config as YAML, unresolved; loading it gives the same dict again."""
        return str(yaml.safe_dump(dict(self), sort_keys=False, allow_unicode=True, width=100))


def compose(
    config: str | os.PathLike[str] | Mapping[str, Any], overrides: Iterable[str] = ()
) -> Config:
    """Return a config changed by overrides, all at once and in any order.

    Args:
        config: A path, a run's folder (or what ``fit`` returned, which stands for it), the name of
            a shipped config, or a mapping (also a config that was composed before).
        overrides: ``key=value`` each, the value read as YAML.

    Raises:
        ConfigError: A file is missing or broken, bases form a circle, or an override is no
            ``key=value``.
    """
    base = config if isinstance(config, Mapping) else _load(find(config), ())
    tree = expand(dict(base))
    if not isinstance(config, Mapping):
        tree |= _moved_to(Path(config).expanduser(), tree)
    changes, keys = overrides_tree(overrides)
    return Config(
        merge(tree, changes),
        origins=getattr(base, "origins", {}) | dict.fromkeys(keys, COMMAND_LINE),
        path=getattr(base, "path", None),
        name=getattr(base, "name", "run"),
    )


def load(config: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Config:
    """Compose a config from a file (or a shipped name) and overrides; see :func:`compose`."""
    return compose(config, overrides)


def save(composed: Mapping[str, Any], path: str | Path) -> None:
    """Write a composed config, unresolved, so that loading it gives the same dict again."""
    write_atomically(Path(path), Config(composed).text.encode())


def _moved_to(folder: Path, tree: Mapping[str, Any]) -> dict[str, str]:
    """``run_dir`` of a run's folder that is not where its config says: it was moved, or we were."""
    if not any((folder / name).exists() for name in ("checkpoints", "metrics.jsonl")):
        return {}
    told = Path(str(tree.get("run_dir") or Path("runs") / folder.resolve().name)).expanduser()
    return {} if told.resolve() == folder.resolve() else {"run_dir": str(folder)}


def find(config: str | os.PathLike[str], folder: Path | None = None) -> Path:
    """Return the file meant by a path (relative to ``folder``) or by a shipped config's name.

    Raises:
        ConfigError: There is none.
    """
    path = (folder or Path()) / Path(config).expanduser()
    if path.is_file():
        return path
    if (path / "config.yaml").is_file():
        return path / "config.yaml"
    known = shipped()
    name = os.fspath(config).removesuffix(".yaml")
    if name in known:
        return known[name]
    raise ConfigError([Problem("", _not_found(os.fspath(config), path, list(known)))])


def shipped() -> dict[str, Path]:
    """Return the configs that come with sslight by name; those for ``_base_`` included."""
    found: dict[str, Path] = {}
    for root in SHIPPED:
        for path in sorted(root.rglob("*.yaml")):
            found.setdefault(path.relative_to(root).with_suffix("").as_posix(), path)
    return found


def _not_found(config: str, path: Path, known: list[str]) -> str:
    files = [str(Path(config).parent / file.name) for file in path.parent.glob("*.yaml")]
    nearest = closest(config, [*files, *known])
    if path.is_dir():
        return f"the folder {config} holds no config.yaml, so it is no run of sslight's."
    names = ", ".join(name for name in known if not name.startswith("_")) or "none"
    hint = f" Did you mean {nearest!r}?" if nearest else ""
    return f"no config {config!r}: neither a file nor a shipped config.{hint} Shipped: {names}."


def _load(path: Path, chain: tuple[Path, ...]) -> Config:
    """Load a file on top of its bases; ``chain`` holds the files that asked for it."""
    chain = (*chain, path.resolve())
    document = _read(path)
    tree: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for base in _bases(document, path, chain):
        inherited = _load(base, chain)
        tree, origins = merge(tree, inherited), origins | inherited.origins
    document.tree.pop("_base_", None)
    return Config(
        merge(tree, expand(document.tree)),
        origins=origins | document.origins,
        path=path,
        name=_name(path.resolve()),
    )


def _name(path: Path) -> str:
    """Say what a config is called; a shipped one with its folder, as each method has ``shapes``."""
    for root in map(Path.resolve, SHIPPED):
        if path.is_relative_to(root):
            return path.relative_to(root).with_suffix("").as_posix()
    return path.parent.name if path.stem == "config" else path.stem


def _read(path: Path) -> Document:
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise ConfigError([Problem("", f"not a UTF-8 text file: {error}.", str(path))]) from error
    except OSError as error:
        raise ConfigError([Problem("", f"cannot be read: {error.strerror}.", str(path))]) from error


def _bases(document: Document, path: Path, chain: tuple[Path, ...]) -> Iterator[Path]:
    value = document.tree.get("_base_", [])
    origin = document.origins.get("_base_", str(path))
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        message = f"got {value!r}; expected a file's name or a list of them."
        raise ConfigError([Problem("_base_", message, origin)])
    for name in names:
        try:
            base = find(name, path.parent)
        except ConfigError as error:
            raise ConfigError([Problem("_base_", error.problems[0].message, origin)]) from None
        if base.resolve() in chain:
            circle = " -> ".join(file.name for file in (*chain, base.resolve()))
            raise ConfigError([Problem("_base_", f"files include each other: {circle}.", origin)])
        yield base
