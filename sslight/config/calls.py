"""Reading keyword arguments: a signature is the schema of its node."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from sslight import registry
from sslight.config import hints, scalars
from sslight.config.errors import ConfigError
from sslight.config.values import FAILED, show, wrong

if TYPE_CHECKING:
    from sslight.config.reader import Reader

#: Families whose members are plain values: checking may build them to hear their own checks.
_VALUES = ("schedule", "views")


def record(reader: Reader, key: str, value: Any, cls: type) -> Any:
    """Read the fields of a dataclass, and let its own checks speak too."""
    if not isinstance(value, dict):
        return wrong(reader, key, value, cls)
    return _tried(reader, key, cls, value, family=None, label=cls.__name__)


def member(
    reader: Reader,
    key: str,
    value: Any,
    family: str,
    *,
    default: str | None = None,
    injected: dict[str, Any] | None = None,
) -> Any:
    """Read ``{name: ..., key: value, ...}``, or just the name, as a member of a family.

    Args:
        reader: Collects the problems.
        key: The node's full key.
        value: The node.
        family: The family of the name.
        default: The name where the node gives none.
        injected: Arguments that sslight gives.
    """
    node = {"name": value} if isinstance(value, str) else value
    if not isinstance(node, dict):
        return reader.fail(key, f"got {show(value)}; expected a {family}: {{name: ..., ...}}.")
    name: Any = node.get("name", default)
    thing = named(reader, f"{key}.name", name, family)
    if thing is FAILED:
        return FAILED
    options = {word: entry for word, entry in node.items() if word != "name"}
    if family in _VALUES:
        read = _tried(reader, key, thing, options, family=family, label=name)
    else:
        read = call(reader, key, thing, options, family=family, label=name, injected=injected)
    return read if read is FAILED or reader.make else {"name": name, **read}


def named(reader: Reader, key: str, name: Any, family: str) -> Any:
    """Return the class or function of that name, or note why there is none."""
    if name is None:
        known = registry.did_you_mean("", registry.names(family))
        return reader.fail(key, f"missing; it says which {family} to use.{known}")
    if not isinstance(name, str) or name == scalars.MISSING:
        return (
            reader.read(key, name, str)
            if name == scalars.MISSING
            else wrong(reader, key, name, str)
        )
    try:
        return registry.resolve(family, name, reader.trust)
    except (registry.UnknownNameError, registry.RefusedError, ImportError) as error:
        reader.cause = error
        return reader.fail(key, str(error))


def call(
    reader: Reader,
    key: str,
    thing: Any,
    given: dict[str, Any],
    *,
    family: str | None = None,
    label: str = "",
    injected: dict[str, Any] | None = None,
) -> Any:
    """Read keyword arguments against a signature and, when building, call it.

    A ``ValueError`` of the constructor is a problem like any other.
    """
    injected = injected or {}
    read = arguments(reader, key, thing, given, family=family, label=label, but=tuple(injected))
    if read is FAILED or not reader.make:
        return read
    try:
        return _make(thing, read, family, injected)
    except ConfigError:
        raise
    except ValueError as error:
        reader.cause = error
        names = list(registry.signature(family, thing))
        return reader.fail(*_blamed(key, str(error), names))


def arguments(
    reader: Reader,
    key: str,
    thing: Any,
    given: dict[str, Any],
    *,
    family: str | None = None,
    label: str = "",
    but: tuple[str, ...] = (),
) -> Any:
    """Read keyword arguments against a signature: unknown, missing and mistyped ones fail."""
    parameters = registry.signature(family, thing)
    allowed = {name: part for name, part in parameters.items() if name not in but}
    hidden = {*but, *registry.injected(family, thing)}
    label = label or getattr(thing, "__name__", str(thing))
    read: dict[str, Any] = {}
    for name, value in given.items():
        full = f"{key}.{name}" if key else name
        if name in allowed:
            read[name] = reader.read(full, value, allowed[name].annotation)
        else:
            read[name] = unknown(reader, full, label, list(allowed), hidden)
    meant = misspelt(given, allowed)
    for name, part in allowed.items():
        if part.default is inspect.Parameter.empty and name not in given and name not in meant:
            wanted = hints.describe(part.annotation)
            full = f"{key}.{name}" if key else name
            read[name] = reader.fail(full, f"missing; {label} needs it: {wanted}.")
    return FAILED if any(value is FAILED for value in read.values()) else read


def misspelt(given: Iterable[str], allowed: Collection[str]) -> set[str | None]:
    """Return the keys that unknown ones were probably meant to be; these are not missing too."""
    return {registry.closest(name, allowed) for name in given if name not in allowed}


def unknown(
    reader: Reader, key: str, label: str, allowed: list[str], hidden: Collection[str] = ()
) -> Any:
    """Note a key that the signature does not have."""
    name = key.rpartition(".")[2]
    if name in hidden:
        return reader.fail(key, "is given by sslight, not by the config. Remove it.")
    nearest = registry.suggestion(name, allowed)
    listed = ", ".join(allowed[:12] if nearest else allowed)
    more = " and more" if nearest and len(allowed) > 12 else ""
    takes = f"takes {listed}{more}" if allowed else "takes no keys"
    return reader.fail(key, f"unknown key.{nearest} {label} {takes}.")


def _tried(
    reader: Reader, key: str, thing: Any, given: dict[str, Any], *, family: str | None, label: str
) -> Any:
    """Read arguments; when only checking, also build once to hear the class's own checks."""
    read = call(reader, key, thing, given, family=family, label=label)
    if read is FAILED or reader.make:
        return read
    trial = reader.attempt(make=True)
    failed = call(trial, key, thing, given, family=family, label=label) is FAILED
    return reader.adopt(trial) if failed else read


def _make(thing: Any, read: dict[str, Any], family: str | None, injected: dict[str, Any]) -> Any:
    """Call ``thing``; where sslight will give an argument only later, return a partial."""
    parameters = inspect.signature(thing).parameters
    waiting = [
        name
        for name in registry.injected(family, thing)
        if name not in injected and parameters[name].default is inspect.Parameter.empty
    ]
    if waiting:
        return functools.partial(thing, **read, **injected)
    if strange := [name for name in injected if name not in parameters]:
        raise ValueError(
            f"{thing.__qualname__} must take {' and '.join(strange)}, "
            f"which sslight gives to every {family}."
        )
    return thing(**read, **injected)


def _blamed(key: str, message: str, names: list[str]) -> tuple[str, str]:
    """Return the key that a constructor's message starts with (else the node's), and the rest."""
    first, _, rest = message.partition(" ")
    word = first.strip("`'\":,")
    if word == key or word.startswith(f"{key}."):
        return word, rest
    return (
        (f"{key}.{word}", rest if first.endswith(":") else message)
        if word in names
        else (key, message)
    )
