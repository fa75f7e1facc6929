"""Names of tensors, and the two moves that every layout is made of: unwrap, then spell.

A file's names are dotted paths through its dicts: ``state_dict.module.encoder_q.conv1.weight``.
Nothing here looks at values, so that a list of names is enough to test a layout.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Names = dict[str, str]  # a file's name of a tensor -> the backbone's
Shapes = Mapping[str, tuple[int, ...]]


def no_traits(shapes: Shapes) -> dict[str, Any]:
    """What most projects fix beyond names and shapes: nothing."""
    return {}


@dataclass(frozen=True)
class Wrapping:
    """Where a project's files hold the backbone.

    Attributes:
        name: The project.
        told_by: What tells its files, for people.
        unwrap: A file's names to those of the backbone it evaluates; empty for other files.
        traits: From the backbone's shapes, its arguments that neither names nor shapes tell.
        certain: Whether ``told_by`` leaves no doubt, so that a backbone with other traits is wrong.
    """

    name: str
    told_by: str
    unwrap: Callable[[Iterable[str]], Names]
    traits: Callable[[Shapes], dict[str, Any]] = no_traits
    certain: bool = True


@dataclass(frozen=True)
class Spelling:
    """What a project calls the layers of a network that sslight has under other names.

    Attributes:
        name: The project and network.
        told_by: What tells it, for people.
        spell: Unwrapped names to torchvision's (convolutional networks) or timm's (transformers);
            empty for other networks.
        note: What a user must know of such weights.
    """

    name: str
    told_by: str
    spell: Callable[[Names], Names]
    note: str = ""


def within(names: Iterable[str], *holders: str) -> Names:
    """Names below the first of ``holders`` that occurs, less everything up to it.

    A holder (``encoder_q.``) may lie in containers (``state_dict.module.``): the outermost counts.
    """
    listed = list(names)
    for holder in holders:
        found: dict[str, Names] = {}
        for name in listed:
            start = f".{name}".find(f".{holder}")
            if start >= 0:
                end = start + len(holder)
                found.setdefault(name[:end], {})[name] = name[end:]
        if found:
            return found[min(found, key=len)]
    return {}


def renamed(names: Names, rules: Mapping[str, str]) -> Names:
    """Apply to each name the first rule (pattern -> replacement) that matches, if any."""
    compiled = [(re.compile(pattern), new) for pattern, new in rules.items()]

    def one(name: str) -> str:
        for pattern, new in compiled:
            if pattern.search(name):
                return pattern.sub(new, name, count=1)
        return name

    return {theirs: one(name) for theirs, name in names.items()}


def any_matches(names: Names, pattern: str) -> bool:
    """Whether one of the unwrapped names matches from its start."""
    return any(re.match(pattern, name) for name in names.values())
