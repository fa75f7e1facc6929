"""Trade time for memory: a backbone over chunks of images, or block by block.

Both run parts under non-reentrant ``torch.utils.checkpoint``: activations are dropped after the
forward and computed again in the backward, with the same random numbers. Gradients are equal, DDP
needs nothing special, and running statistics of batch norms move once, not twice.

A module's ``forward`` is replaced on the instance, so names, state dicts and hooks stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


@contextmanager
def held_statistics(module: nn.Module) -> Iterator[None]:
    """Let batch norms inside ``module`` write their statistics to copies that are thrown away."""
    held = []
    for norm in module.modules():
        if isinstance(norm, _BatchNorm) and norm.training:
            held.append((norm, dict(norm._buffers)))
            for name, buffer in norm._buffers.items():
                norm._buffers[name] = None if buffer is None else buffer.clone()
    try:
        yield
    finally:
        for norm, buffers in held:
            norm._buffers.update(buffers)


def recomputed(module: nn.Module, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call ``function``, a part of ``module``, and compute it again in the backward."""
    if not torch.is_grad_enabled():
        return function(*args, **kwargs)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), held_statistics(module)

    return checkpoint(function, *args, use_reentrant=False, context_fn=contexts, **kwargs)


# ------------------------------------------------------------------------- chunks of images


#: Methods of a backbone that take the images first.
_CUT = ("forward", "tokens", "block_outputs")


class _Chunked:
    """A method of ``module`` run over chunks of the images in its first argument."""

    def __init__(self, module: nn.Module, name: str, chunk: int, state: dict[str, bool]) -> None:
        self.module, self.chunk, self.state = module, chunk, state
        self.original: Callable[..., Any] = getattr(module, name)

    def __call__(self, images: Tensor, *args: Any, **kwargs: Any) -> Any:
        if self.state["inside"]:  # forward calls tokens: one level of checkpoints is enough
            return self.original(images, *args, **kwargs)
        outputs = []
        for start in range(0, max(len(images), 1), self.chunk):
            rows = slice(start, start + self.chunk)
            part = [_rows_of(value, rows, len(images)) for value in args]
            named = {key: _rows_of(value, rows, len(images)) for key, value in kwargs.items()}
            outputs.append(recomputed(self.module, self._one, images[rows], *part, **named))
        return _joined(outputs)

    def _one(self, *args: Any, **kwargs: Any) -> Any:
        self.state["inside"] = True
        try:
            return self.original(*args, **kwargs)
        finally:
            self.state["inside"] = False


def _rows_of(value: Any, rows: slice, batch: int) -> Any:
    per_image = isinstance(value, Tensor) and value.ndim > 0 and len(value) == batch
    return value[rows] if per_image else value


def _joined(outputs: list[Any]) -> Any:
    first = outputs[0]
    if len(outputs) == 1:
        return first
    if isinstance(first, Tensor):
        return torch.cat(outputs)
    if isinstance(first, dict):
        return {key: _joined([output[key] for output in outputs]) for key in first}
    if isinstance(first, list | tuple):
        return type(first)(_joined(list(parts)) for parts in zip(*outputs, strict=True))
    raise TypeError(
        "chunked: a backbone must return a tensor with the images first, or a list, tuple or dict "
        f"of such tensors; got {type(first).__name__}."
    )


@contextmanager
def chunked(backbone: nn.Module, chunk: int) -> Iterator[None]:
    """Run ``backbone`` (``forward``, ``tokens``, ``block_outputs``) over chunks, each recomputed.

    At most one chunk's activations exist at any time. Outputs are those of the whole batch, except
    that batch norms in train mode see a chunk at a time. Arguments with one row per image are cut
    along.

    Args:
        backbone: A module whose methods take images ``[B, ...]`` first.
        chunk: Images per chunk, 1 or more.
    """
    if chunk < 1:
        raise ValueError(f"chunked: chunk is {chunk}; use 1 image or more.")
    names = [name for name in _CUT if hasattr(backbone, name)]
    saved = {name: backbone.__dict__[name] for name in names if name in backbone.__dict__}
    state = {"inside": False}
    backbone.__dict__.update({name: _Chunked(backbone, name, chunk, state) for name in names})
    try:
        yield
    finally:
        for name in names:
            del backbone.__dict__[name]
        backbone.__dict__.update(saved)


# ---------------------------------------------------------------------------------- blocks


class _Recomputed:
    """The forward of a block, computed again in the backward; copies and pickles with its block."""

    def __init__(self, block: nn.Module) -> None:
        self.block = block

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return recomputed(self.block, type(self.block).forward, self.block, *args, **kwargs)


def repeated_blocks(module: nn.Module) -> list[nn.Module]:
    """Find the blocks a network repeats: residual blocks, transformer layers, in order.

    They are the items of a ``Sequential`` or ``ModuleList`` that share one class, are more than a
    layer, and hold no such list themselves.
    """
    inner = [block for child in module.children() for block in repeated_blocks(child)]
    children = list(module.children())
    alike = len({type(child) for child in children}) == 1 and len(children) > 1
    single = not isinstance(next(iter(children), None), nn.Sequential | nn.ModuleList)
    compound = all(any(True for _ in child.children()) for child in children)
    if inner or not isinstance(module, nn.Sequential | nn.ModuleList):
        return inner
    return children if alike and single and compound else []


def checkpoint_blocks(backbone: nn.Module, n: int) -> nn.Module:
    """Recompute the first ``n`` blocks of ``backbone`` in the backward, instead of storing them.

    Each of them keeps only its input. Early blocks have the largest activations; an ``n`` above the
    number of blocks means all.

    Args:
        backbone: A network of repeated blocks (ResNets, vision transformers, ConvNeXt, ...).
        n: Blocks to recompute; 0 changes nothing.

    Returns:
        The same module.
    """
    if n < 0:
        raise ValueError(f"checkpoint_blocks is {n}; use 0 (none) or more.")
    blocks = repeated_blocks(backbone) if n else []
    if n and not blocks:
        raise ValueError(
            f"checkpoint_blocks: found no repeated blocks in {type(backbone).__name__}. "
            "It works for networks with blocks in a Sequential or ModuleList, such as ResNets and "
            "vision transformers; set it to 0 here."
        )
    for block in blocks[:n]:
        block.__dict__["forward"] = _Recomputed(block)
    return backbone
