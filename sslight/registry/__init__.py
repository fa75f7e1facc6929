"""From the names in a config to classes: found lazily, with suggestions, and nothing by surprise.

A name is looked up among the built-ins (a file in the family's package, or an entry of its
table), then among the entry points of installed packages (group ``sslight.<family>``), then, if it
is written ``package.module:Class``, in a package that the *user* trusts, and last among what a
notebook has registered. Lightning's public callbacks belong to the family ``callback``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from sslight.registry import builtin, foreign
from sslight.registry.families import (
    FAMILIES,
    Family,
    RefusedError,
    UnknownNameError,
    closest,
    did_you_mean,
    family_of,
    suggestion,
)
from sslight.registry.signature import Parameters, injected, signature

__all__ = [
    "FAMILIES",
    "Family",
    "Parameters",
    "RefusedError",
    "UnknownNameError",
    "closest",
    "did_you_mean",
    "injected",
    "names",
    "register",
    "resolve",
    "signature",
    "suggestion",
    "summary",
]

Thing = TypeVar("Thing", bound=Callable[..., Any])

_registered: dict[tuple[str, str], Any] = {}


def names(family: str) -> list[str]:
    """Return the names a config may use: built-in, installed, registered (Lightning's left out)."""
    members = family_of(family)
    found = [*builtin.names(members), *sorted(foreign.entry_points(family))]
    found += [name for owner, name in _registered if owner == family]
    return list(dict.fromkeys(found))


def summary(family: str, name: str) -> str:
    """Return one line about a member, from its docstring."""
    members = family_of(family)
    if name in builtin.names(members):
        return builtin.summary(members, name)
    if (family, name) in _registered:
        return (_registered[family, name].__doc__ or "").strip().split("\n")[0]
    return ", ".join(point.value for point in foreign.entry_points(family).get(name, ()))


def resolve(family: str, name: str, trust: Iterable[str] = ()) -> Any:
    """Return the class or function that a name stands for.

    Args:
        family: One of ``FAMILIES``.
        name: A short name, or ``package.module:Class``.
        trust: Packages the user allows paths into (``--trust``).

    Raises:
        UnknownNameError: Nothing has this name; the error suggests the nearest one.
        RefusedError: The name points at something that a config may not name.
    """
    members = family_of(family)
    offered = foreign.from_entry_point(members, name, builtin.names(members))
    found = builtin.find(members, name)
    if found is None:
        found = offered
    if found is None and (family, name) in _registered:
        return _registered[family, name]
    if found is None and foreign.is_path(name):
        return foreign.from_path(members, name, tuple(trust))
    if found is None:
        found = foreign.from_lightning(members, name)
    if found is None:
        raise UnknownNameError(f"unknown {family} {name!r}.{did_you_mean(name, names(family))}")
    return found


def register(family: str, name: str) -> Callable[[Thing], Thing]:
    """Give a class or function of a notebook a name that configs can use.

    Running the cell again replaces the earlier one.

    Raises:
        ValueError: The name is a built-in's, contains ``:``, ``.`` or ``/``, or the object cannot
            belong to the family.
    """
    members = family_of(family)
    if name in builtin.names(members):
        raise ValueError(f"{family} {name!r} is built in; choose another name.")
    if not name.isidentifier():
        raise ValueError(f"{family} {name!r}: a name consists of letters, digits and underscores.")

    def keep(thing: Thing) -> Thing:
        _registered[family, name] = foreign.usable(members, name, thing)
        return thing

    return keep
