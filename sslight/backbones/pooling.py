"""From maps and tokens to vectors: poolings by name, and a transformer's own way to embed."""

from __future__ import annotations

import math
import re
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from sslight.backbones.spec import did_you_mean

#: What a layer's pooling may be called, for errors.
POOLINGS = (
    "none, flatten, cls, tokens, avg, max, gem (or gem<P>), avg<K> and max<K> (a K x K grid of "
    "any map), avg_k<K>_s<S>_p<P> and max_k... (a fixed window of K pixels, stride S, padding P)"
)
_SIMPLE = ("avg", "max", "gem", "cls", "tokens", "flatten", "none")
_GRID = re.compile(r"(avg|max)([1-9]\d*)?")
_WINDOW = re.compile(r"(avg|max)_k([1-9]\d*)(?:_s([1-9]\d*))?(?:_p(\d+))?")
_GEM = re.compile(r"gem([1-9]\d*(?:\.\d+)?)?")


def check_pooling(layer: str, pooling: str) -> None:
    """Refuse a pooling that :func:`pool` does not know, with the nearest one that it does."""
    known = (*_SIMPLE, "avg2", "avg_k6_s1")
    if pooling in _SIMPLE or any(p.fullmatch(pooling) for p in (_GRID, _GEM)):
        return
    window = _WINDOW.fullmatch(pooling)
    if window is None:
        raise ValueError(
            f"layer {layer!r}: unknown pooling {pooling!r}.{did_you_mean(pooling, known)} "
            f"Known: {POOLINGS}."
        )
    if 2 * int(window[4] or 0) > int(window[2]):
        raise ValueError(
            f"layer {layer!r}: pooling {pooling!r} pads by more than half of its window; give "
            f"p{int(window[2]) // 2} or less."
        )


def pool(feature: Tensor, pooling: str, n_prefix: int = 0) -> Tensor:
    """Pool a map ``[B, C, H, W]``, or tokens ``[B, T, D]`` whose first ``n_prefix`` are no patches.

    What is pooled comes flattened, ``[B, D]``, channels first. ``[B, D]`` passes unchanged.
    ``none`` keeps the shape, ``cls`` takes the first token, ``tokens`` the patches ``[B, P, D]``
    (of a map: its pixels), ``gem`` is the generalised mean with power 3 (Radenovic et al., 2018,
    arXiv:1711.02512), ``gem4`` with another, ``avg2`` the mean of each cell of a 2 x 2 grid, and
    ``avg_k10_s10_p4`` that of windows of 10 pixels with stride 10 (default: the window) and padding
    4 (default 0), zeros counted, as torch's ``AvgPool2d``. Patch tokens are laid out as the square
    they came from where a pooling needs a map.

    Args:
        feature: ``[B, C, H, W]``, ``[B, T, D]`` or ``[B, D]``.
        pooling: One of the above; :func:`check_pooling` says whether it is.
        n_prefix: Class and register tokens.
    """
    pooled_map = pool_map(feature, pooling, n_prefix)
    keeps = pooling in ("none", "tokens")
    return pooled_map if keeps or pooled_map.ndim == 2 else pooled_map.flatten(1)


def pool_map(feature: Tensor, pooling: str, n_prefix: int = 0) -> Tensor:
    """Pool as :func:`pool`, but leave grids and windows as maps ``[B, C, h, w]``."""
    if pooling in ("none", "flatten") or feature.ndim == 2:
        return feature
    if feature.ndim not in (3, 4):
        raise ValueError(f"pooling {pooling!r}: a feature of shape {list(feature.shape)}.")
    if pooling == "cls":
        if feature.ndim != 3:
            raise ValueError(f"pooling 'cls' needs tokens [B, T, D], got {list(feature.shape)}.")
        return feature[:, 0]
    if pooling == "tokens":
        return feature[:, n_prefix:] if feature.ndim == 3 else feature.flatten(2).transpose(1, 2)
    gem, grid, window = (p.fullmatch(pooling) for p in (_GEM, _GRID, _WINDOW))
    if gem:
        return _generalised_mean(_as_map(feature, n_prefix, square=False), float(gem[1] or 3))
    if grid and not grid[2]:
        every = _as_map(feature, n_prefix, square=False).flatten(2)
        return every.mean(2) if grid[1] == "avg" else every.amax(2)
    square = _as_map(feature, n_prefix, square=True)
    if grid:
        adaptive = F.adaptive_avg_pool2d if grid[1] == "avg" else F.adaptive_max_pool2d
        return adaptive(square, int(grid[2]))
    if window is None:
        raise ValueError(f"unknown pooling {pooling!r}. Known: {POOLINGS}.")
    return _windows(square, window)


def _generalised_mean(feature: Tensor, power: float) -> Tensor:
    return feature.clamp(min=1e-6).pow(power).mean(dim=(2, 3)).pow(1 / power)


def _windows(feature: Tensor, window: re.Match[str]) -> Tensor:
    size = int(window[2])
    stride, padding = int(window[3] or size), int(window[4] or 0)
    if min(feature.shape[2:]) + 2 * padding < size:
        raise ValueError(
            f"pooling {window[0]!r}: the window is larger than the map, which is "
            f"{feature.shape[2]} x {feature.shape[3]}. Use a smaller one, or larger images."
        )
    reduce = F.avg_pool2d if window[1] == "avg" else F.max_pool2d
    return reduce(feature, size, stride, padding)


def _as_map(feature: Tensor, n_prefix: int, *, square: bool) -> Tensor:
    """Tokens ``[B, T, D]`` as ``[B, D, P, 1]``, or as the square of patches ``[B, D, h, h]``."""
    if feature.ndim == 4:
        return feature
    patches = feature[:, n_prefix:].transpose(1, 2)  # [B, D, P]
    side = math.isqrt(patches.shape[2])
    if not square:
        return patches.unsqueeze(-1)
    if side * side != patches.shape[2]:
        raise ValueError(
            f"{patches.shape[2]} patch tokens are no square, so a grid or window has no place; use "
            "avg, max or gem, or square images."
        )
    return patches.reshape(*patches.shape[:2], side, side)


def pooled(backbone: Any, tokens: Tensor) -> Tensor:
    """Pool tokens ``[B, N, D]`` after the last norm into ``[B, D]``, as ``forward`` would.

    For a method that has run ``tokens`` already and needs the embedding too. timm's transformers
    pool by their own head; one that does not say how it pools gives its first token.
    """
    if hasattr(backbone, "forward_head"):
        embedding: Tensor = backbone.forward_head(tokens, pre_logits=True)
        return embedding
    if getattr(backbone, "pooling", "cls") == "avg":
        return tokens[:, backbone.n_prefix :].mean(1)
    return tokens[:, 0]
