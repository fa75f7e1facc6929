"""What LARS and LARC share: norms per parameter, and an SGD update over lists of tensors.

Everything runs in ``torch._foreach_*`` and stays on the device: no value is read by the host.
Sharded parameters (DTensor) get the norm of the whole tensor; the arithmetic runs on local shards.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

#: A list of tensors on a CPU ends when it has so many numbers.
_CACHED = 1 << 14


def local(tensor: Tensor) -> Tensor:
    """This rank's shard of a DTensor, sharing its memory; any other tensor as it is."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def full_norms(tensors: list[Tensor]) -> Tensor:
    """L2 norm of each whole tensor, ``[len(tensors)]``, in float32 or wider."""
    if tensors[0].dtype in (torch.float16, torch.bfloat16):
        tensors = [tensor.float() for tensor in tensors]
    norms = torch._foreach_norm(tensors)
    return torch.stack([n.full_tensor() if hasattr(n, "full_tensor") else n for n in norms])


def gradient_batches(group: dict[str, Any]) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Parameters of a group that have a gradient, with it, in lists of one device and dtype.

    On a CPU the lists are short, so that what one operation wrote the next one finds in the cache;
    elsewhere they are whole: fewer launches. Each tensor's step is the same either way.
    """
    batches: dict[Any, tuple[list[Tensor], list[Tensor]]] = defaultdict(lambda: ([], []))
    for p in group["params"]:
        if p.grad is None:
            continue
        if p.grad.is_sparse:
            raise TypeError("LARS and LARC need dense gradients, got a sparse one (sparse=True?).")
        key = p.device, p.dtype, hasattr(p, "to_local")
        params, grads = batches[key]
        params.append(p)
        grads.append(p.grad)
        if p.device.type == "cpu" and sum(map(Tensor.numel, params)) > _CACHED:
            yield batches.pop(key)
    yield from batches.values()


def split_by_ndim(
    params: list[Tensor], grads: list[Tensor], *, exclude_1d: bool
) -> tuple[list[int], list[int]]:
    """Indices of the parameters that get a trust ratio, and of those left out of it."""
    adapted = [i for i, p in enumerate(params) if p.ndim > 1 or not exclude_1d]
    return adapted, [i for i, p in enumerate(params) if p.ndim <= 1 and exclude_1d]


def momentum_step(
    optimizer: Optimizer, params: list[Tensor], updates: list[Tensor], group: dict[str, Any]
) -> None:
    """``buffer = momentum * buffer + update``; ``param -= lr * buffer``, on local shards.

    With ``nesterov`` the parameter moves by ``update + momentum * buffer``.
    """
    momentum = group["momentum"]
    if momentum:
        buffers = [local(_buffer(optimizer, p)) for p in params]
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, updates)
        if group.get("nesterov", False):
            updates = list(torch._foreach_add(updates, buffers, alpha=momentum))
        else:
            updates = buffers
    torch._foreach_add_([local(p) for p in params], updates, alpha=-group["lr"])


def _buffer(optimizer: Optimizer, param: Tensor) -> Tensor:
    state = optimizer.state[param]
    if "momentum_buffer" not in state:
        state["momentum_buffer"] = torch.zeros_like(param, memory_format=torch.preserve_format)
    buffer: Tensor = state["momentum_buffer"]
    return buffer


def check_ranges(name: str, **values: float) -> None:
    """Refuse negative hyperparameters, naming the optimizer and the argument."""
    for key, value in values.items():
        if not value >= 0:
            raise ValueError(f"{name}: {key} must not be negative, got {value!r}.")
