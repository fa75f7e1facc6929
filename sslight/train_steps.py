"""How one batch becomes a loss: a train step is ``f(method, batch, **options) -> StepOutput``.

It may wrap ``method.training_loss`` and must not reimplement it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from sslight.modules.checkpointing import chunked
from sslight.types import Batch, StepOutput
from sslight.utils import say_once

if TYPE_CHECKING:
    from sslight.module import SSLModule


class TrainStep(Protocol):
    """What a train step looks like once its options are bound."""

    def __call__(self, method: SSLModule, batch: Batch, /) -> StepOutput:
        """Compute the loss of one batch."""


F = TypeVar("F", bound=Callable[..., StepOutput])


def standard(method: SSLModule, batch: Batch) -> StepOutput:
    """Call ``method.training_loss(batch)``."""
    return method.training_loss(batch)


def gradcache(method: SSLModule, batch: Batch, *, chunk: int = 64) -> StepOutput:
    """Compute the exact loss of a large batch at the activation memory of a chunk.

    The backbone runs over ``chunk`` images at a time and each chunk is computed again in the
    backward (Gao et al., 2021, arXiv:2101.06983, by checkpoints); heads and loss see the whole
    batch. Value and gradient equal the standard step's, except that batch norms of the backbone, in
    train mode, normalise each chunk by itself and move their running statistics once a chunk. It
    costs one more forward of the backbone.

    Args:
        method: The method to train.
        batch: The batch.
        chunk: Images per pass of the backbone, counting each crop.
    """
    if any(_normalises_by_batch(module) for module in method.backbone.modules()):
        say_once(
            f"gradcache: the backbone of {type(method).__name__} has batch norm, whose statistics "
            f"are now those of {chunk} images, not of the batch. The loss is not exactly that of "
            "the standard step; a backbone with layer or group norm has no such difference."
        )
    with chunked(method.backbone, chunk):
        return method.training_loss(batch)


def _normalises_by_batch(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and module.training


TRAIN_STEPS: dict[str, Callable[..., StepOutput]] = {
    "standard": standard,
    "gradcache": gradcache,
}


def register_train_step(name: str) -> Callable[[F], F]:
    """Decorate a function to make it available as train step ``name``.

    A second registration replaces the first, so that a notebook cell can be run again; the built-in
    names cannot be taken.
    """
    if name in ("standard", "gradcache"):
        raise ValueError(f"register_train_step: {name!r} is built in; choose another name.")

    def add(function: F) -> F:
        TRAIN_STEPS[name] = function
        return function

    return add


def get_train_step(name: str) -> Callable[..., Any]:
    """Give the train step called ``name``.

    Raises:
        ValueError: If there is none; the message lists those there are.
    """
    if name in TRAIN_STEPS:
        return TRAIN_STEPS[name]
    close = difflib.get_close_matches(name, TRAIN_STEPS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(
        f"train_step: unknown name {name!r}. Known: {', '.join(sorted(TRAIN_STEPS))}.{hint} "
        "Add your own with @sslight.register_train_step(name)."
    )
