"""Checking a config: nothing is built, no data is touched, every problem is found."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from sslight.config import sections
from sslight.config.errors import ConfigError, Problem
from sslight.config.interpolate import resolved
from sslight.config.reader import Reader


def check(
    cfg: dict[str, Any],
    command: str = "fit",
    trust: Iterable[str] = (),
    given: Collection[str] = (),
) -> list[Problem]:
    """Return everything that is wrong with a config; an empty list if it can be used.

    Args:
        cfg: A composed config.
        command: What it is for: ``fit extract eval``; it decides which sections must be there.
        trust: Packages that ``package.module:Class`` may point into.
        given: Sections for which Python gives an object, so that they may be missing.
    """
    return _walk(cfg, command, trust, given)[1]


def checked(
    cfg: dict[str, Any],
    command: str = "fit",
    trust: Iterable[str] = (),
    given: Collection[str] = (),
) -> dict[str, Any]:
    """Check a config and return it as a plain tree to work with.

    In the tree interpolations are filled in and scalars are read as their parameters want them, so
    that two configs that mean the same give the same tree. Nodes stay mappings, paths stay text;
    defaults are not filled in.

    Raises:
        ConfigError: :func:`check` finds problems.
    """
    tree, problems = _walk(cfg, command, trust, given)
    if problems:
        raise ConfigError(problems)
    return tree


def _walk(
    cfg: dict[str, Any], command: str, trust: Iterable[str], given: Collection[str]
) -> tuple[dict[str, Any], list[Problem]]:
    reader = Reader(trust, origins=getattr(cfg, "origins", None))
    tree, broken = resolved(cfg)
    for problem in broken:
        reader.fail(problem.key, problem.message)
    unresolved = {problem.key for problem in broken}  # what else is said of them is no news
    found = sections.read(reader, tree, command, given)
    later = [problem for problem in reader.problems[len(broken) :] if problem.key not in unresolved]
    return found, [*reader.problems[: len(broken)], *later]
