"""A frozen copy of a network, taken in the course of training."""

from __future__ import annotations

import copy

import torch
from torch import nn

from sslight.schedules import Clock


class Snapshot(nn.Module):
    """What a network was at an earlier epoch; saved with the method.

    A method with one calls :meth:`before_epoch` at each epoch's start. What the copy holds is in
    the state dict, and when it is taken follows from the clock: a resumed run has the same.

    Args:
        source: The network to copy; it must be registered elsewhere.
        start: Epoch, from 0, before which the first copy is taken.
        every: Epochs after which it is taken anew; None keeps the first one.
    """

    def __init__(self, source: nn.Module, start: int = 0, every: int | None = None) -> None:
        super().__init__()
        if start < 0 or (every is not None and every < 1):
            raise ValueError(
                f"Snapshot: start is epoch {start} and every {every} epochs; use a start of 0 or "
                "more, and 1 epoch or more, or None for a single copy."
            )
        self.start, self.every = start, every
        self._source = (source,)  # in a tuple, so that it is not registered a second time
        self.copy = copy.deepcopy(source).requires_grad_(False)

    def exists(self, clock: Clock) -> bool:
        """Say whether a copy has been taken by now."""
        return clock.epoch >= self.start

    @torch.no_grad()
    def before_epoch(self, clock: Clock) -> None:
        """Take a copy, parameters and buffers, if this epoch is one for it."""
        since = clock.epoch - self.start
        if since < 0 or (since if self.every is None else since % self.every):
            return
        source = self._source[0].state_dict()
        for name, tensor in self.copy.state_dict().items():
            tensor.copy_(source[name])
