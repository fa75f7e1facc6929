"""State that stays in float32 where a network becomes 16-bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def kept_wide(module: nn.Module, name: str) -> Iterator[None]:
    """Keep a buffer's numbers when a cast inside would round them to 16 bits.

    For a moving average: a small step is lost in a number of 16 bits, and the average stops short.
    A module that has one wraps its ``_apply``, through which every cast goes.

    Args:
        module: What owns the buffer.
        name: Of the buffer, which may be None.
    """
    before: Tensor | None = getattr(module, name)
    yield
    after: Tensor | None = getattr(module, name)
    if before is None or after is None or not after.is_floating_point():
        return
    if after.element_size() == 2 < before.element_size():
        setattr(module, name, before.to(after.device))
