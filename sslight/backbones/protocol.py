"""What a backbone is, and how any ``nn.Module`` becomes one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

SIZES = (224, 32, 64, 96, 28)  # tried in turn when the module's input size is unknown


@runtime_checkable
class Backbone(Protocol):
    """A network from images to embeddings.

    ``forward(images [B, C, H, W]) -> [B, embed_dim]``. Transformers also have
    ``tokens(images, mask=None, keep=None) -> [B, N, D]``: every token after the last norm,
    ``n_prefix`` prefix tokens (class, registers) first; ``mask`` ``[B, P]`` is true where a patch
    is hidden, ``keep`` ``[B, K]`` names the patches that go through the blocks at all. Further
    ``patch_size``, ``grid(images) -> (rows, columns)``, ``block_outputs(images, last)`` and
    ``fix_positions()``; see :class:`sslight.backbones.vit_model.VisionTransformer`.
    """

    embed_dim: int

    def __call__(self, images: Tensor) -> Tensor:
        """Embeddings ``[B, embed_dim]``."""


def as_backbone(module: nn.Module, embed_dim: int | None = None) -> nn.Module:
    """Make ``module`` a backbone: it gets ``embed_dim``, found by a forward on a weightless copy.

    The module itself never runs, so batch-norm statistics and random state stay as they are.
    A module that already has an integer ``embed_dim`` is returned as it is. Output maps
    ``[B, C, H, W]`` are averaged over H and W.

    Args:
        module: Maps images to ``[B, D]`` or ``[B, C, H, W]``.
        embed_dim: Width of the output, where it is known or cannot be found.

    Raises:
        TypeError: the module returns something else than one tensor of those shapes.
        ValueError: the module could not be run on any common image size.
    """
    if embed_dim is None and isinstance(getattr(module, "embed_dim", None), int):
        return module
    if embed_dim is None:
        shape = _output_shape(module, in_channels_of(module), None)
        if len(shape) == 4:
            return MapPooling(module, shape[1])
        embed_dim = _width(module, shape)
    module.embed_dim = embed_dim  # type: ignore[assignment]
    return module


def embedding_width(module: nn.Module, *, in_channels: int = 3, size: int | None = None) -> int:
    """D of the ``[B, D]`` that ``module`` makes of ``[B, in_channels, size, size]`` images."""
    return _width(module, _output_shape(module, in_channels, size))


class MapPooling(nn.Module):
    """A network that ends in a map ``[B, C, H, W]``, followed by the mean over H and W."""

    def __init__(self, module: nn.Module, embed_dim: int):
        super().__init__()
        self.module, self.embed_dim = module, embed_dim

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings ``[B, C]``."""
        out: Tensor = self.module(images).mean(dim=(2, 3))
        return out


def _width(module: nn.Module, shape: tuple[int, ...]) -> int:
    if len(shape) != 2:
        raise TypeError(
            f"{type(module).__name__} returns {list(shape)} for a batch of {shape[0]} images; a "
            "backbone returns [B, D]. Wrap it in a module that pools."
        )
    return shape[1]


def in_channels_of(module: nn.Module) -> int:
    """Channels that the first convolution takes, 3 without one."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            return layer.in_channels
    return 3


def _output_shape(module: nn.Module, in_channels: int, size: int | None) -> tuple[int, ...]:
    """Shape of the output for two images, without running ``module`` itself."""
    errors = []
    for copied, device in weightless(module):
        for side in [size] if size else SIZES:
            images = torch.zeros(2, in_channels, side, side, device=device)
            try:
                with torch.no_grad():
                    out = copied(images)
            except Exception as error:  # a user's module may raise anything; all are reported
                errors.append(f"{side} px on {device}: {type(error).__name__}: {error}")
                continue
            if not isinstance(out, Tensor):
                raise TypeError(
                    f"{type(module).__name__} returns {type(out).__name__}; a backbone returns one "
                    "tensor [B, D]. Wrap it in a module that picks it."
                )
            return tuple(out.shape)
    raise ValueError(
        f"{type(module).__name__}: its output width could not be found; give as_backbone(module, "
        f"embed_dim=...). First failure: {errors[0]}"
    )


def weightless(module: nn.Module) -> Iterator[tuple[nn.Module, torch.device]]:
    """A copy without weights, then (for modules that need values) a real one; both in eval mode."""
    meta = torch.device("meta")
    memo: dict[int, Any] = {}
    for tensor in [*module.parameters(), *module.buffers()]:
        empty = torch.empty_like(tensor, device=meta)
        memo[id(tensor)] = nn.Parameter(empty, False) if _is_parameter(tensor) else empty
    # deepcopy takes what is in the memo for a copy, so no weight is ever duplicated here.
    yield copy.deepcopy(module, memo).eval(), meta
    first = next(module.parameters(), None)
    yield (
        copy.deepcopy(module).eval(),
        cast(Tensor, first).device if first is not None else (torch.device("cpu")),
    )


def _is_parameter(tensor: Tensor) -> bool:
    return isinstance(tensor, nn.Parameter)
