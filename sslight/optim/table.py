"""Optimizers by name, and what may be said about each."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from typing import Any

import torch
from torch.optim import Optimizer

from sslight.optim.larc import LARC
from sslight.optim.lars import LARS

#: Set by the recipe itself, never through ``options``.
_RECIPE_FIELDS = frozenset({"params", "lr", "weight_decay", "momentum"})

_REFUSED = {
    "LBFGS": "it evaluates the loss several times a step, so batch norm, queues and EMA teachers "
    "would move several times",
    "SparseAdam": "it takes sparse gradients only, which image models do not have",
}


def _torch_optimizers() -> dict[str, type[Optimizer]]:
    """Every optimizer class that this torch has, by its own name."""
    found = {
        name: member
        for name, member in vars(torch.optim).items()
        if inspect.isclass(member) and issubclass(member, Optimizer) and member is not Optimizer
    }
    return {name: found[name] for name in sorted(found) if name not in _REFUSED}


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "lars": LARS,
    "larc": LARC,
    **_torch_optimizers(),
}


def find_optimizer(optimizer: str | type[Optimizer]) -> type[Optimizer]:
    """The class behind a name; a class as it is.

    Raises:
        ValueError: The name is unknown or refused; the message lists the known ones.
    """
    if not isinstance(optimizer, str):
        return optimizer
    if optimizer in OPTIMIZERS:
        return OPTIMIZERS[optimizer]
    if optimizer in _REFUSED:
        raise ValueError(f"optim.optimizer: {optimizer} is not supported: {_REFUSED[optimizer]}.")
    raise ValueError(
        f"optim.optimizer: unknown optimizer {optimizer!r}.{did_you_mean(optimizer, OPTIMIZERS)} "
        f"Known: {', '.join(OPTIMIZERS)}."
    )


def option_names(optimizer: type[Optimizer]) -> list[str] | None:
    """Arguments that ``options`` may set; None where the class takes any (``**kwargs``)."""
    parameters = inspect.signature(optimizer).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return [p.name for p in parameters if p.name not in _RECIPE_FIELDS]


def takes(optimizer: type[Optimizer], argument: str) -> bool:
    """Whether the optimizer's constructor has this argument."""
    return argument in inspect.signature(optimizer).parameters


def did_you_mean(word: str, known: Any) -> str:
    """`` Did you mean 'x'?`` or nothing."""
    lowered = {name.lower(): name for name in reversed(list(known))}  # the first spelling wins
    close = get_close_matches(word.lower(), lowered, n=1)
    return f" Did you mean {lowered[close[0]]!r}?" if close else ""
