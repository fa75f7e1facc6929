"""``torch.compile`` of a method, in place: names of weights, checkpoints and callbacks stay."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Literal, cast

import torch
from torch import nn

from sslight.errors import RefusedRunError
from sslight.module import SSLModule
from sslight.modules.checkpointing import repeated_blocks
from sslight.modules.ema import EMA
from sslight.schedules import Schedule
from sslight.train_steps import standard
from sslight.types import Batch, StepOutput

#: What the config's ``compile`` may name.
Compiled = Literal["backbone", "loss"]


def compile_method(method: SSLModule, what: Compiled) -> None:
    """Have a method compiled at its first batch.

    Args:
        method: The method to train.
        what: ``backbone`` compiles the backbone and its momentum teachers; ``loss`` all of
            ``training_loss``: backbone, heads and the loss itself, as far as no Python stands in
            between.

    Raises:
        RefusedRunError: Under a train step that runs the backbone in pieces, or without a compiler.
    """
    if method.train_step is not standard:
        raise RefusedRunError(
            f"compile: {what} needs the standard train step; gradcache replaces parts of the "
            "backbone in each step. Remove train_step, or compile."
        )
    _check_compiler()
    if what == "loss":
        method.training_loss = _compiled_loss(method)  # type: ignore[method-assign,assignment]
        return
    for network in _networks(method):
        for part in _entrances(network):
            part.compile()


def _compiled_loss(method: SSLModule) -> Callable[[Batch], StepOutput]:
    """Compile ``training_loss``, for all steps at once.

    torch takes whole numbers below a module for constants, and the number of the step is one: it
    would compile each step anew and give up after eight of them.
    """
    _keep_schedules_out_of_graphs()
    numbers_vary = torch._dynamo.config.patch(allow_unspec_int_on_nn_module=True)
    loss: Callable[[Batch], StepOutput] = numbers_vary(torch.compile(method.training_loss))
    return loss


@cache
def _keep_schedules_out_of_graphs() -> None:
    """Have Python compute what follows from the clock, exactly, also where a GPU trains.

    A kernel would round it to float32, and a step of a schedule could come one step late.
    """
    outside: Any = cast(Any, torch.compiler).disable(Schedule.__call__)
    Schedule.__call__ = outside  # type: ignore[method-assign]


def _networks(method: SSLModule) -> Iterator[nn.Module]:
    """Yield the backbone and the teachers that follow it; those of heads alone are small."""
    yield method.backbone
    for module in method.modules():
        if isinstance(module, EMA) and _holds(module.online, method.backbone):
            yield module.teacher


def _holds(network: nn.Module, wanted: nn.Module) -> bool:
    return any(part is wanted for part in network.modules())


def _entrances(network: nn.Module) -> list[nn.Module]:
    """Return what is called in any case: methods enter transformers by ``tokens``, not ``()``."""
    by_tokens = any(hasattr(module, "tokens") for module in network.modules())
    return repeated_blocks(network) if by_tokens else [network]


def _check_compiler() -> None:
    names = [os.environ.get("CXX", ""), "g++", "clang++", "cl"]
    if not any(name and shutil.which(name) for name in names):
        raise RefusedRunError(
            "compile: torch.compile needs a C++ compiler, and there is neither g++ nor clang++ on "
            "the PATH (nor CXX). Install one, or remove compile."
        )
