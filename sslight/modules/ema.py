"""Momentum teachers."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from sslight.schedules import Clock, Cosine, Schedule, as_schedule

Buffers = Literal["own", "copy", "average"]


class EMA(nn.Module):
    """A teacher whose parameters are an exponential moving average of an online network's.

    After each optimizer step ``teacher = m * teacher + (1 - m) * online``. The teacher starts as a
    copy, gets no gradient, and is saved in the state dict under ``teacher.``; the online network is
    only referred to. The default momentum is BYOL's (arXiv:2006.07733, section 3):
    ``1 - (1 - 0.996) (cos(pi k / K) + 1) / 2`` at step k of K.

    Args:
        online: The network to follow; it must be registered elsewhere to be trained.
        momentum: m, a number or a schedule.
        buffers: ``"own"``: batch-norm statistics are the teacher's own, from its own forwards;
            ``"copy"``: taken from the online network; ``"average"``: averaged like parameters
            (integer buffers are copied).
        eval_mode: Keep the teacher in eval mode also while training. By default it trains along, so
            that its batch norms normalise by the statistics of the batch.
    """

    def __init__(
        self,
        online: nn.Module,
        momentum: float | Schedule = Cosine(0.996, 1.0),  # noqa: B008  a frozen dataclass
        *,
        buffers: Buffers = "own",
        eval_mode: bool = False,
    ) -> None:
        super().__init__()
        if buffers not in get_args(Buffers):
            raise ValueError(f"EMA: buffers is {buffers!r}; use one of {get_args(Buffers)}.")
        if isinstance(momentum, int | float) and not 0 <= momentum <= 1:
            raise ValueError(f"EMA: momentum is {momentum}; it lies in [0, 1], e.g. 0.996.")
        self.momentum = as_schedule(momentum)
        self.buffers_are: Buffers = buffers
        self.eval_mode = eval_mode
        self._online = (online,)  # in a tuple, so that it is not registered a second time
        self.teacher = copy.deepcopy(online).requires_grad_(False)
        self.train(online.training)

    @property
    def online(self) -> nn.Module:
        """The network that is followed."""
        return self._online[0]

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the teacher, without gradient."""
        return self.teacher(*args, **kwargs)

    def train(self, mode: bool = True) -> EMA:
        """Set the mode; with ``eval_mode`` the teacher itself stays in eval mode."""
        super().train(mode)
        if self.eval_mode:
            self.teacher.eval()
        return self

    def after_step(self, clock: Clock) -> None:
        """Move the teacher; called once after each optimizer step."""
        self._follow(1.0 - self.momentum(clock))

    def restart(self) -> None:
        """Make the teacher a copy of the online network again, buffers included."""
        self._follow(1.0)
        _copy(self.teacher.buffers(), self.online.buffers())

    @torch.no_grad()
    def _follow(self, weight: float) -> None:
        for module in self.modules():  # FSDP leaves a teacher unsharded after its forward
            reshard = getattr(module, "reshard", None)
            if reshard is not None:
                reshard()
        _lerp(self.teacher.parameters(), self.online.parameters(), weight)
        if self.buffers_are == "average":
            _lerp(self.teacher.buffers(), self.online.buffers(), weight)
        elif self.buffers_are == "copy":
            _copy(self.teacher.buffers(), self.online.buffers())


def _lerp(mine: Iterator[Tensor], theirs: Iterator[Tensor], weight: float) -> None:
    pairs = [(m, t.detach()) for m, t in zip(mine, theirs, strict=True)]
    floats = [(m, t) for m, t in pairs if m.is_floating_point()]
    if floats:
        torch._foreach_lerp_([m for m, _ in floats], [t for _, t in floats], weight)
    for m, t in pairs:
        if not m.is_floating_point():
            m.copy_(t)


@torch.no_grad()
def _copy(mine: Iterator[Tensor], theirs: Iterator[Tensor]) -> None:
    for m, t in zip(mine, theirs, strict=True):
        m.copy_(t)
