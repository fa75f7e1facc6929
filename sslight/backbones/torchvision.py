"""The rest of torchvision's classification networks, behind two functions."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
import torchvision
from torch import nn
from torch.overrides import TorchFunctionMode

from sslight.backbones import BACKBONES, DROP_PATH_NAMES
from sslight.backbones.common import (
    finish,
    load_torchvision_weights,
    remove_classifier,
    set_drop_path,
    set_in_channels,
)
from sslight.backbones.spec import bind


def plain(
    arch: str,
    *,
    in_channels: int = 3,
    weights: str | None = None,
    checkpoint_blocks: int = 0,
    extra: dict[str, Any] | None = None,
) -> nn.Module:
    """A torchvision network without the last layer of its classifier.

    Args:
        arch: torchvision's name of it.
        in_channels: Channels of the images.
        weights: A torchvision weights name such as ``IMAGENET1K_V1``; ``None`` starts at random.
        checkpoint_blocks: Recompute the activations of this many blocks (0 = keep all).
        extra: Further arguments of the network's class in torchvision.
    """
    model = _build(arch, extra or {})
    embed_dim = remove_classifier(model)
    set_in_channels(model, in_channels)
    load_torchvision_weights(model, arch, weights)
    return finish(model, embed_dim, checkpoint_blocks)


def with_drop_path(
    arch: str,
    *,
    in_channels: int = 3,
    drop_path: float | None = None,
    weights: str | None = None,
    checkpoint_blocks: int = 0,
    extra: dict[str, Any] | None = None,
) -> nn.Module:
    """A torchvision network with stochastic depth, without the last layer of its classifier.

    Args:
        arch: torchvision's name of it.
        in_channels: Channels of the images.
        drop_path: Stochastic-depth rate of the last block, linear from 0; default torchvision's.
        weights: A torchvision weights name such as ``IMAGENET1K_V1``; ``None`` starts at random.
        checkpoint_blocks: Recompute the activations of this many blocks (0 = keep all).
        extra: Further arguments of the network's class in torchvision.
    """
    model = plain(arch, in_channels=in_channels, weights=weights, extra=extra)
    if drop_path is not None:
        set_drop_path(model, drop_path)
    return finish(model, int(model.embed_dim), checkpoint_blocks)  # type: ignore[arg-type]


def _build(arch: str, extra: dict[str, Any]) -> nn.Module:
    options: dict[str, Any] = dict(extra)
    if arch in ("googlenet", "inception_v3"):
        options.setdefault("init_weights", True)  # torchvision warns about its default otherwise
    try:
        with _CountsOnCpu() if arch.startswith("regnet") else nullcontext():
            model: nn.Module = torchvision.models.get_model(arch, weights=None, **options)
    except TypeError as error:
        raise TypeError(f"backbone {arch!r}, extra={extra}: {error}.") from error
    if arch in ("googlenet", "inception_v3"):
        _remove_auxiliary_heads(model)
    if arch.startswith("swin"):
        model.nhwc_layers = ("features", "norm")  # type: ignore[assignment]
    return model


class _CountsOnCpu(TorchFunctionMode):
    """Keep on the CPU the numbers a RegNet computes its widths from; ``meta`` has no values."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        pinned = {"device": "cpu"} if func in (torch.arange, torch.tensor) else {}
        return func(*args, **{**pinned, **(kwargs or {})})


def _remove_auxiliary_heads(model: nn.Module) -> None:
    for name in ("aux1", "aux2", "AuxLogits"):
        if hasattr(model, name):
            setattr(model, name, None)
    model.aux_logits = False  # type: ignore[assignment]
    model.dropout = nn.Identity()


def __getattr__(name: str) -> Callable[..., nn.Module]:
    if BACKBONES.get(name) != f"{__name__}:{name}":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return bind(with_drop_path if name in DROP_PATH_NAMES else plain, name)
