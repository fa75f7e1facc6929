"""Momentum teachers."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from sslight.losses.precision import widened
from sslight.modules.wide import kept_wide
from sslight.schedules import Clock, Cosine, Schedule, as_schedule

Buffers = Literal["own", "copy", "average"]
_LOW = (torch.float16, torch.bfloat16)


class EMA(nn.Module):
    """A teacher whose parameters are an exponential moving average of an online network's.

    After each optimizer step ``teacher = m * teacher + (1 - m) * online``. The teacher starts as a
    copy, gets no gradient, and is saved in the state dict under ``teacher.``; the online network is
    only referred to. The default momentum is BYOL's (arXiv:2006.07733, section 3):
    ``1 - (1 - 0.996) (cos(pi k / K) + 1) / 2`` at step k of K.

    Steps as small as these are lost in parameters of 16 bits (``trainer.precision: bf16-true``).
    Their average is therefore kept in float32, in a buffer, and the teacher is its rounding.

    Args:
        online: The network to follow; it must be registered elsewhere to be trained.
        momentum: m, a number or a schedule.
        buffers: ``"own"``: batch-norm statistics are the teacher's own, from its own forwards;
            ``"copy"``: taken from the online network; ``"average"``: averaged like parameters
            (integer buffers are copied).
        eval_mode: Keep the teacher in eval mode also while training. By default it trains along, so
            that its batch norms normalise by the statistics of the batch.
    """

    large_buffers = ("average",)
    average: Tensor | None

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
        self.register_buffer("average", None)
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
        mine, theirs = list(self.teacher.parameters()), list(self.online.parameters())
        average = self._average(mine)
        _lerp(average, [widened(p) for p in theirs] if average is not mine else theirs, weight)
        if average is not mine:
            _copy(mine, average)
        if self.buffers_are == "average":
            _lerp(self.teacher.buffers(), self.online.buffers(), weight)
        elif self.buffers_are == "copy":
            _copy(self.teacher.buffers(), self.online.buffers())

    def _average(self, mine: Sequence[Tensor]) -> Sequence[Tensor]:
        """Give what is averaged: the parameters themselves, or what they are the rounding of."""
        low = any(p.dtype in _LOW for p in mine)
        if low and any(hasattr(p, "to_local") for p in mine):
            warnings.warn(_SHARDED, stacklevel=2)
        elif low:
            if self.average is None:
                self.average = torch.cat([widened(p.detach()).flatten() for p in mine])
            parts = torch.split(self.average, [p.numel() for p in mine])
            return [part.view_as(p) for part, p in zip(parts, mine, strict=True)]
        self.average = None
        return mine

    def _apply(self, fn: Any, recurse: bool = True) -> EMA:
        with kept_wide(self, "average"):
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        found = state_dict.get(f"{prefix}average")
        own = next(self.teacher.parameters(), found)
        self.average = None if found is None else torch.empty_like(found, device=own.device)
        super()._load_from_state_dict(state_dict, prefix, *args)


#: Said once by Python's warnings.
_SHARDED = (
    "A momentum teacher whose parameters have 16 bits and are sharded over ranks hardly moves: its "
    "steps are smaller than its numbers tell apart. Use trainer.precision: bf16-mixed."
)


def _lerp(mine: Iterable[Tensor], theirs: Iterable[Tensor], weight: float) -> None:
    pairs = [(m, t.detach()) for m, t in zip(mine, theirs, strict=True)]
    floats = [(m, t) for m, t in pairs if m.is_floating_point()]
    if floats:
        torch._foreach_lerp_([m for m, _ in floats], [t for _, t in floats], weight)
    for m, t in pairs:
        if not m.is_floating_point():
            m.copy_(t)


@torch.no_grad()
def _copy(mine: Iterable[Tensor], theirs: Iterable[Tensor]) -> None:
    for m, t in zip(mine, theirs, strict=True):
        m.copy_(t)
