"""How a backbone remembers the call that built it, so that a file of weights can rebuild it."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# Arguments that fetch weights: a rebuilt backbone gets its weights from the file instead.
_WEIGHT_ARGUMENTS = {"weights": None, "pretrained": False}


@dataclass(frozen=True)
class BackboneSpec:
    """A name in the backbone family and the keyword arguments it was called with."""

    name: str
    kwargs: dict[str, Any] = field(default_factory=dict)

    def rebuildable(self) -> BackboneSpec:
        """The same call without pretrained weights, for code that loads its own weights."""
        kwargs = {k: v for k, v in self.kwargs.items() if k not in _WEIGHT_ARGUMENTS}
        return BackboneSpec(self.name, kwargs)


def spec_of(module: Any) -> BackboneSpec | None:
    """The call that built ``module``, or ``None`` for a module of the user's own."""
    spec = getattr(module, "backbone_spec", None)
    return spec if isinstance(spec, BackboneSpec) else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` for the nearest known words, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.5)
    if not close:
        return ""
    return " Did you mean " + " or ".join(repr(c) for c in close) + "?"


def bind(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A builder of one architecture from a family's function ``function(name, *, ...)``.

    The result shows the family's own signature without ``name`` (it is the schema of a YAML node)
    and leaves a :class:`BackboneSpec` on what it builds.
    """
    signature = inspect.signature(function, eval_str=True)
    first, *rest = signature.parameters.values()

    @functools.wraps(function)
    def build(**kwargs: Any) -> Any:
        check_arguments(f"backbone {name!r}", signature.replace(parameters=rest), kwargs)
        module = function(name, **kwargs)
        module.backbone_spec = BackboneSpec(name, dict(kwargs))
        return module

    build.__name__ = build.__qualname__ = name
    build.__annotations__ = {k: v for k, v in function.__annotations__.items() if k != first.name}
    build.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
    return build


def check_arguments(where: str, signature: inspect.Signature, given: Mapping[str, Any]) -> None:
    """Refuse keyword arguments a signature does not have, with the nearest ones it does have."""
    for key in given:
        if key not in signature.parameters:
            raise TypeError(
                f"{where} has no argument {key!r}.{did_you_mean(key, signature.parameters)} "
                f"It takes: {', '.join(signature.parameters)}."
            )


def check_extra(where: str, function: Callable[..., Any], extra: Mapping[str, Any] | None) -> None:
    """Refuse keys of ``extra`` that ``function`` (the library's own builder) does not name."""
    parameters = inspect.signature(function).parameters
    named = {k: p for k, p in parameters.items() if k != "self" and p.kind is not p.VAR_KEYWORD}
    for key in extra or {}:
        if key not in named:
            raise TypeError(
                f"{where}: extra.{key} is not an argument of {function.__qualname__}."
                f"{did_you_mean(key, named)} It takes: {', '.join(named)}."
            )
