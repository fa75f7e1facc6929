"""Who am I among the ranks, and gathers and sums over them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def is_distributed() -> bool:
    """Say whether a process group exists."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Give this process's rank, 0 outside a process group."""
    return dist.get_rank() if is_distributed() else 0


def world_size() -> int:
    """Give the number of ranks, 1 outside a process group."""
    return dist.get_world_size() if is_distributed() else 1


def all_gather(x: Tensor) -> Tensor:
    """Stack ``x`` ``[B, ...]`` of all ranks into ``[W * B, ...]``, rank 0 first, without gradient.

    A scalar becomes ``[W]``.
    """
    x = x.detach()
    x = x.unsqueeze(0) if x.ndim == 0 else x
    if world_size() == 1:
        return x
    return gather_rows(x, None, world_size())


def _newest(name: str, before: str) -> Callable[..., Any]:
    """Take a collective by its name since torch 2.14, or by the one that it had before."""
    collective: Callable[..., Any] = getattr(dist, name, None) or getattr(dist, before)
    return collective


def gather_rows(x: Tensor, group: dist.ProcessGroup | None, members: int) -> Tensor:
    """Stack the rows of a group's ``members`` (None: the default group), without gradient."""
    gathered = x.new_empty((members * len(x), *x.shape[1:]))
    # Into one tensor: of a list NCCL would copy each rank's part once more.
    _newest("all_gather_single", "all_gather_into_tensor")(gathered, x.contiguous(), group=group)
    return gathered


class _GatherWithGrad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return gather_rows(x, None, world_size())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        own = grad.new_empty((len(grad) // world_size(), *grad.shape[1:]))
        _newest("reduce_scatter_single", "reduce_scatter_tensor")(own, grad.contiguous())
        return own


def gather_with_grad(x: Tensor) -> Tensor:
    """Stack ``x`` ``[B, ...]`` of all ranks into ``[W * B, ...]``, rank 0 first, with gradient.

    The backward sums the gradient over ranks and returns this rank's rows.
    """
    if x.ndim == 0:
        raise ValueError("gather_with_grad: got a scalar; pass a tensor with a batch dimension.")
    if world_size() == 1:
        return x
    gathered: Tensor = _GatherWithGrad.apply(x)
    return gathered


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        return grad


def sum_over_ranks(x: Tensor) -> Tensor:
    """Add ``x`` over ranks; the backward adds the gradients over ranks."""
    if world_size() == 1:
        return x
    total: Tensor = _SumOverRanks.apply(x)
    return total


def mean_over_ranks(x: Tensor) -> Tensor:
    """Average ``x`` over ranks, with gradient as in :func:`sum_over_ranks`."""
    return sum_over_ranks(x) / world_size() if world_size() > 1 else x


def _talking_device() -> torch.device:
    """Name a device that the default process group can send from."""
    if "nccl" in dist.get_backend():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def all_reduce_max(value: int) -> int:
    """Give the largest ``value`` of all ranks (a host read: not for every training step)."""
    if world_size() == 1:
        return value
    largest = torch.tensor(value, dtype=torch.int64, device=_talking_device())
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    return int(largest)


@torch.no_grad()
def broadcast(x: Tensor, src: int = 0) -> None:
    """Overwrite ``x`` on every rank by that of rank ``src``."""
    if world_size() > 1:
        whole = x.detach().contiguous()
        dist.broadcast(whole, src=src)
        x.copy_(whole)


def broadcast_object(value: Any, src: int = 0) -> Any:
    """Give every rank the picklable ``value`` of rank ``src``."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=src, device=_talking_device())
    return box[0]
