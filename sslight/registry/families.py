"""The families a config can name members of, and the words used in their errors."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


class UnknownNameError(ValueError):
    """No member of the family has this name."""


class RefusedError(ValueError):
    """The name points at something that a config may not name."""


@dataclass(frozen=True)
class Family:
    """Where the built-in members of a family live.

    Attributes:
        name: What errors, entry points and ``sslight list`` call it.
        home: Package with one file per member, or the module that holds the table.
        table: Name of the literal dict in ``home``; None when members are files.
        injected: Constructor arguments that sslight fills in, so no config may.
        base: ``module:Class`` that a trusted class must inherit from; None for functions.
        lightning: Module of Lightning whose public names also belong to the family.
    """

    name: str
    home: str
    table: str | None = None
    injected: frozenset[str] = frozenset()
    base: str | None = None
    lightning: str | None = None


def _index(*families: Family) -> dict[str, Family]:
    return {family.name: family for family in families}


#: Every family, in the order in which ``sslight list`` shows them.
FAMILIES: dict[str, Family] = _index(
    Family(
        "method",
        "sslight.methods",
        injected=frozenset({"backbone", "optim"}),
        base="sslight.module:SSLModule",
    ),
    Family("backbone", "sslight.backbones", "BACKBONES"),
    Family("source", "sslight.data.sources", base="sslight.data.sources.base:Source"),
    Family("views", "sslight.augment.presets", "PRESETS"),
    Family(
        "callback",
        "sslight.callbacks",
        base="pytorch_lightning:Callback",
        lightning="pytorch_lightning.callbacks",
    ),
    Family(
        "optimizer",
        "sslight.optim",
        "OPTIMIZERS",
        injected=frozenset({"params", "lr", "weight_decay"}),
        base="torch.optim:Optimizer",
    ),
    Family("schedule", "sslight.schedules", "SCHEDULES", base="sslight.schedules:Schedule"),
    Family(
        "train_step",
        "sslight.train_steps",
        "TRAIN_STEPS",
        injected=frozenset({"method", "batch"}),
    ),
    Family("eval", "sslight.eval", injected=frozenset({"subject"})),
    Family("format", "sslight.checkpoints.export", base="sslight.checkpoints.export.base:Format"),
)


def family_of(name: str) -> Family:
    """Return the family of that name.

    Raises:
        UnknownNameError: There is none.
    """
    if name not in FAMILIES:
        raise UnknownNameError(f"unknown family {name!r}.{did_you_mean(name, FAMILIES)}")
    return FAMILIES[name]


def did_you_mean(word: str, known: Iterable[str], *, limit: int = 24) -> str:
    """Return `` Did you mean 'x'? Known: x, y.``, ready to be put behind a sentence.

    A list longer than ``limit`` is cut, the more so where there is a suggestion; nothing is said
    about an empty one.
    """
    words = list(known)
    if not words:
        return ""
    nearest = suggestion(word, words)
    if len(words) <= limit:
        return f"{nearest} Known: {', '.join(words)}."
    shown = ", ".join(words[: limit // 2 if nearest else limit])
    return f"{nearest} Known: {shown}, ... ({len(words)} in all)."


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` with the nearest known word, or nothing."""
    nearest = closest(word, known)
    return f" Did you mean {nearest!r}?" if nearest else ""


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word nearest to ``word``; case, ``-`` and ``_`` do not count."""
    plain: dict[str, str] = {}
    for candidate in known:
        plain.setdefault(_plain(candidate), candidate)
    found = difflib.get_close_matches(_plain(word), plain, n=1, cutoff=0.6)
    return plain[found[0]] if found else None


def _plain(word: str) -> str:
    return str(word).lower().replace("-", "_")
