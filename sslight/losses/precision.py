"""Losses, and updates of what they read, in float32 or better in any surrounding precision."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])


def widened(value: Any) -> Any:
    """Cast float16 and bfloat16 tensors to float32, inside lists and tuples too."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.to(torch.promote_types(value.dtype, torch.float32))
    if isinstance(value, list | tuple):
        return type(value)(widened(item) for item in value)
    return value


def _device_type(value: Any) -> str | None:
    if isinstance(value, Tensor):
        return value.device.type
    if isinstance(value, list | tuple):
        return next((kind for kind in map(_device_type, value) if kind), None)
    return None


def full_precision(loss: F) -> F:
    """Decorate a loss or an update: 16-bit inputs become float32, autocast is off inside."""

    @wraps(loss)
    def wide_loss(*args: Any, **kwargs: Any) -> Any:
        kind = _device_type([*args, *kwargs.values()]) or "cpu"
        known = torch.amp.is_autocast_available(kind)
        with torch.autocast(kind, enabled=False) if known else nullcontext():
            return loss(*widened(args), **{name: widened(x) for name, x in kwargs.items()})

    return wide_loss  # type: ignore[return-value]
