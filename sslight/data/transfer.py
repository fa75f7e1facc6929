"""Tensors on their way to a device."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def transferred(content: Any, device: torch.device) -> Any:
    """Copy every tensor in nested dicts and lists to a device.

    To a GPU without waiting, on a stream of its own: training reads no tensor on the host, so the
    host asks for a batch while the GPU still computes the step before, and on the stream that
    computes the copy would wait for that step.
    """
    if device.type != "cuda":
        return map_tensors(content, lambda x: x.to(device))
    copying, computing = _copy_stream(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(copying):
        moved = map_tensors(content, lambda x: x.to(device, non_blocking=True))
    computing.wait_stream(copying)
    for_computing = functools.partial(_used_on, computing)
    return map_tensors(moved, for_computing)


@functools.cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _used_on(stream: torch.cuda.Stream, tensor: Tensor) -> Tensor:
    """Keep a tensor's memory from the next copy until ``stream`` is done with it."""
    tensor.record_stream(stream)
    return tensor


def map_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to every tensor in nested dicts and lists; leave the rest."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: map_tensors(entry, function) for key, entry in value.items()}
    if isinstance(value, list):
        return [map_tensors(entry, function) for entry in value]
    return value
