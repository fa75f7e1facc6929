"""What a config may write for a class or function: its signature, with real annotations."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import typing
from typing import Any

from sslight.registry.families import FAMILIES

Parameters = dict[str, inspect.Parameter]

_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def signature(family: str | None, thing: Any) -> Parameters:
    """Return the parameters that a config may set, by name.

    Injected parameters (a method's ``backbone``) and ``*args``, ``**kwargs`` are left out.
    Annotations are resolved; one that cannot be resolved becomes ``Any``, that is, unchecked.
    """
    hidden = FAMILIES[family].injected if family is not None else frozenset()
    return {
        name: parameter.replace(annotation=hint)
        for name, (parameter, hint) in _annotated(thing).items()
        if name not in hidden and parameter.kind not in _VARIABLE
    }


def injected(family: str | None, thing: Any) -> list[str]:
    """Return the parameters of ``thing`` that sslight fills in itself."""
    hidden = FAMILIES[family].injected if family is not None else frozenset()
    return [name for name in _annotated(thing) if name in hidden]


@functools.cache
def _annotated(thing: Any) -> dict[str, tuple[inspect.Parameter, Any]]:
    parameters = inspect.signature(thing).parameters
    hints = _hints(thing)
    return {name: (parameters[name], hints.get(name, Any)) for name in parameters}


def _hints(thing: Any) -> dict[str, Any]:
    if not inspect.isclass(thing):
        return _function_hints(thing)
    if not dataclasses.is_dataclass(thing):
        return _function_hints(thing.__init__)
    hints: dict[str, Any] = {}
    for base in reversed(thing.__mro__):
        scope = vars(sys.modules[base.__module__]) if base.__module__ in sys.modules else {}
        hints |= _evaluate(inspect.get_annotations(base), scope)
    return hints


def _function_hints(function: Any) -> dict[str, Any]:
    plain = inspect.unwrap(function)
    return _evaluate(getattr(plain, "__annotations__", {}), getattr(plain, "__globals__", {}))


def _evaluate(annotations: dict[str, Any], scope: dict[str, Any]) -> dict[str, Any]:
    """Evaluate one by one: a name known to type checkers only must not spoil the rest."""
    hints: dict[str, Any] = {}
    for name, annotation in annotations.items():
        carrier = _Carrier({name: annotation})
        try:
            hints[name] = typing.get_type_hints(carrier, scope)[name]
        except (NameError, AttributeError, TypeError):
            hints[name] = Any
    return hints


class _Carrier:
    """What ``typing.get_type_hints`` reads annotations from."""

    def __init__(self, annotations: dict[str, Any]) -> None:
        self.__annotations__ = annotations
