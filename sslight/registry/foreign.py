"""Members that are not sslight's: entry points, trusted paths and Lightning's public names."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Iterable
from typing import Any

from sslight.registry.families import Family, RefusedError

#: Libraries whose functions are no components, whatever the command line says.
_NEVER = frozenset(sys.stdlib_module_names) | {
    *("builtins", "lightning", "numpy", "omegaconf", "pytorch_lightning", "sslight", "timm"),
    *("torch", "torchvision", "yaml"),
}
_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_path(name: str) -> bool:
    """Tell whether a name is meant as a Python path rather than a short name."""
    return ":" in name or ("." in name and "/" not in name)


@functools.cache
def entry_points(family: str) -> dict[str, tuple[importlib.metadata.EntryPoint, ...]]:
    """Return the installed entry points of group ``sslight.<family>`` by name."""
    found: dict[str, list[importlib.metadata.EntryPoint]] = {}
    for point in importlib.metadata.entry_points(group=f"sslight.{family}"):
        found.setdefault(point.name, []).append(point)
    return {name: tuple(points) for name, points in found.items()}


def from_entry_point(family: Family, name: str, builtin: Iterable[str]) -> Any | None:
    """Load an installed package's member; None where no package offers the name.

    Raises:
        RefusedError: The name is taken by a built-in or offered twice, or the object is unusable.
    """
    points = entry_points(family.name).get(name, ())
    if not points:
        return None
    offers = ", ".join(f"{point.value} ({_package(point)})" for point in points)
    if name in builtin:
        raise RefusedError(
            f"{family.name} {name!r} is built in, but also offered by the entry point {offers}. "
            f"Uninstall that package or have it choose another name."
        )
    if len(points) > 1:
        raise RefusedError(
            f"{family.name} {name!r} is offered by {len(points)} entry points: {offers}. "
            f"Uninstall all but one of these packages."
        )
    found = points[0].load()
    return usable(family, name, found)


def from_path(family: Family, name: str, trust: Iterable[str]) -> Any:
    """Import ``package.module:Class`` from a trusted package.

    Raises:
        RefusedError: The path is malformed, its package is not trusted, the object was defined
            elsewhere, or is not what the family holds.
    """
    top = re.split(r"[.:]", name, maxsplit=1)[0]
    if top in _NEVER:
        raise RefusedError(
            f"{name!r} is refused: {top!r} is a library, not a package of {family.name}s, and no "
            f"--trust changes that. Write one of sslight's names, or a class of your own package."
        )
    if not _PATH.fullmatch(name):
        raise RefusedError(
            f"{name!r} is neither a {family.name}'s name nor a path; a path is written "
            f"package.module:Class and needs --trust package."
        )
    module, _, attribute = name.partition(":")
    package = _trusted(module, trust)
    if package is None:
        raise RefusedError(
            f"{name!r} would import {top!r}, which is not trusted. If it is your code, "
            f"add --trust {top} to the command (a config cannot do so)."
        )
    found = _import(module, attribute, name)
    home = str(getattr(found, "__module__", None))
    if inspect.ismodule(found):
        raise RefusedError(f"{name!r} is a module, not a class or a function.")
    if not _inside(home, package):
        raise RefusedError(
            f"{name!r} is refused: it was defined in {home!r}, outside the trusted package "
            f"{package!r}. Name a class that {package!r} itself defines."
        )
    return usable(family, name, found)


def from_lightning(family: Family, name: str) -> Any | None:
    """Return a public class of Lightning by its name, for families that allow it."""
    return public(family.lightning, name) if family.lightning else None


def public(module: str, name: str) -> Any | None:
    """Return ``module.name`` where the module declares it public, else None."""
    home = importlib.import_module(module)
    return getattr(home, name, None) if name in home.__all__ else None


def usable(family: Family, name: str, found: Any) -> Any:
    """Return ``found`` if a config can build one of the family's members with it.

    Raises:
        RefusedError: It is no class or function, of the wrong kind, or takes ``**kwargs``.
    """
    if not (inspect.isclass(found) or inspect.isfunction(found)):
        raise RefusedError(f"{name!r} is a {type(found).__name__}, not a class or a function.")
    if family.base is not None and not _inherits(found, family.base):
        base = family.base.rpartition(":")[2]
        raise RefusedError(
            f"{name!r} is not a {family.name}: it must be a class derived from {base}."
        )
    kinds = [parameter.kind for parameter in inspect.signature(found).parameters.values()]
    if inspect.Parameter.VAR_KEYWORD in kinds:
        raise RefusedError(
            f"{name!r} takes **kwargs, so a mistyped key would go unnoticed. "
            f"Name its arguments one by one in the signature."
        )
    return found


def _inherits(found: Any, base: str) -> bool:
    module, _, attribute = base.partition(":")
    return inspect.isclass(found) and issubclass(
        found, getattr(importlib.import_module(module), attribute)
    )


def _trusted(module: str, trust: Iterable[str]) -> str | None:
    return next((package for package in trust if _inside(module, package)), None)


def _inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _package(point: importlib.metadata.EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "unknown package"


def _import(module: str, attribute: str, name: str) -> Any:
    top = module.partition(".")[0]
    if importlib.util.find_spec(top) is None and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # last, so that nothing there can shadow a library
        importlib.invalidate_caches()
    try:
        home = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not _inside(module, error.name):
            raise  # the user's module exists, and imports something that does not
        raise RefusedError(
            f"{name!r}: there is no module {error.name!r}. Is it installed, or in this folder?"
        ) from error
    if not hasattr(home, attribute):
        raise RefusedError(f"{name!r}: module {module!r} has no {attribute!r}.")
    return getattr(home, attribute)
