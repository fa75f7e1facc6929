from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sslight.registry import injected, signature

if TYPE_CHECKING:
    from nowhere import Unknown


@dataclass
class Parent:
    a: int
    b: float | None = None


@dataclass
class Child(Parent):
    c: tuple[int, ...] = ()


class Method:
    def __init__(
        self,
        backbone: Any,
        optim: Any = None,
        *a: int,
        hard: Unknown = 1,
        t: float = 0.1,
        **rest: int,
    ): ...


class Heir(Method): ...


def test_injected_and_variable_parameters_are_hidden():
    assert list(signature("method", Method)) == ["hard", "t"]
    assert list(signature("method", Heir)) == ["hard", "t"]
    assert list(signature(None, Method)) == ["backbone", "optim", "hard", "t"]
    assert injected("method", Method) == ["backbone", "optim"]


def test_one_unknown_annotation_does_not_spoil_the_rest():
    parameters = signature("method", Method)
    assert parameters["hard"].annotation is Any
    assert parameters["t"].annotation is float
    assert parameters["t"].default == 0.1


def test_dataclass_fields_keep_their_annotations():
    parameters = signature(None, Child)
    assert [part.annotation for part in parameters.values()] == [int, float | None, tuple[int, ...]]
    assert parameters["a"].default is inspect.Parameter.empty


def test_functions():
    def build(*, width: int = 4, extra=None) -> None: ...

    parameters = signature("backbone", build)
    assert parameters["width"].annotation is int
    assert parameters["extra"].annotation is Any
