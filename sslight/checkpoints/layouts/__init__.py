"""Whose weights a file holds: layouts recognised by names, each one pure function.

A layout is two moves. A :class:`Wrapping` finds the backbone among a project's other networks; a
:class:`Spelling` gives its layers the names that sslight's backbones have: torchvision's for
convolutional networks, timm's for transformers. To teach sslight another project, add a file with
such a function and list it here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sslight.checkpoints.layouts import (
    ddp,
    dino,
    lightly,
    mae,
    moco,
    order,
    plain,
    solo_learn,
    torchvision,
    vissl,
)
from sslight.checkpoints.layouts._names import Names, Shapes, Spelling, Wrapping

#: In the order in which they are tried; what none of them knows is read by `plain`.
WRAPPINGS: tuple[Wrapping, ...] = (
    vissl.WRAPPING,
    moco.V2,
    moco.V3,
    dino.WRAPPING,
    dino.IJEPA,
    mae.WRAPPING,
    lightly.TRAIN,
    lightly.WRAPPING,
    solo_learn.WRAPPING,
    ddp.BACKBONE,
    ddp.SWAV,
)
SPELLINGS: tuple[Spelling, ...] = (
    vissl.REGNET,
    vissl.VIT,
    dino.V2,
    torchvision.VIT,
    lightly.SEQUENTIAL,
    lightly.SHORTCUT,
)

# Parts that sharding, compiling and activation checkpointing put into names.
_CLUTTER = re.compile(
    r"(?<![^.])(_fsdp_wrapped_module|_fpw_module|_checkpoint_wrapped_module|_orig_mod)\."
)


@dataclass(frozen=True)
class Reading:
    """One way to read a file.

    Attributes:
        names: The file's names of the backbone's tensors to the backbone's.
        wrapping: Whose file it is; None for a backbone under its own names.
        spelling: Whose names its layers have; None for the backbone's own.
        note: What a user must know of weights read this way.
    """

    names: Names = field(default_factory=dict)
    wrapping: Wrapping | None = None
    spelling: Spelling | None = None
    note: str = ""

    def __str__(self) -> str:
        return ", ".join(part.name for part in (self.wrapping, self.spelling) if part)

    @property
    def prefix(self) -> str:
        """What all of the file's names began with, where they were otherwise kept."""
        theirs, ours = next(iter(self.names.items()), ("", ""))
        prefix = theirs.removesuffix(ours)
        kept = theirs.endswith(ours) and all(t == prefix + o for t, o in self.names.items())
        return prefix if kept else ""

    def traits(self, shapes: Shapes) -> dict[str, Any]:
        """Arguments of the network that neither names nor ``shapes`` (the backbone's) tell."""
        return self.wrapping.traits(shapes) if self.wrapping else {}


def readings(names: Iterable[str]) -> Iterator[Reading]:
    """Every way to read a file with these names, the surest first."""
    clean = {name: _CLUTTER.sub("", name) for name in names}
    for wrapping in WRAPPINGS:
        if inside := wrapping.unwrap(clean.values()):
            yield from _spelled(_through(clean, inside), wrapping)
    for inside in plain.unwrappings(clean.values()):
        yield from _spelled(_through(clean, inside), None)


def best_reading(theirs: Shapes, own: Shapes) -> Reading:
    """The reading that gives a backbone with tensors ``own`` most of its names."""
    candidates = [*readings(theirs), Reading(plain.anywhere(theirs, own))]

    def matches(reading: Reading) -> int:
        return len(own.keys() & set(reading.names.values()))

    best = max(candidates, key=matches)
    if matches(best) == 0 and (paired := order.by_order(theirs, own)):
        return Reading(paired, note=order.NOTE)
    return best


def _spelled(inside: Names, wrapping: Wrapping | None) -> Iterator[Reading]:
    for spelling in SPELLINGS:
        if spelled := spelling.spell(inside):
            yield Reading(spelled, wrapping, spelling, spelling.note)
    yield Reading(inside, wrapping)


def _through(clean: Names, inside: Names) -> Names:
    return {theirs: inside[name] for theirs, name in clean.items() if name in inside}
