"""Image descriptors for retrieval: GeM and R-MAC of stored maps, PCA whitening."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sslight.errors import RefusedRunError

Pooling = Literal["none", "avg", "max", "gem", "rmac"]
#: Share of a region that its neighbour along the longer side should overlap (R-MAC).
_OVERLAP = 0.4


def regional(features: Tensor, pooling: Pooling, *, power: float = 3.0, levels: int = 3) -> Tensor:
    """Pool stored features ``[B, ...]`` into unit vectors of R regions, ``[B, R, C]``.

    Args:
        features: Vectors ``[B, C]``; for a pooling other than ``none`` maps ``[B, C, H, W]``.
        pooling: ``none`` takes features as they are, flattened; ``gem`` is the generalised mean
            (Radenovic et al., 2018, arXiv:1711.02512); ``rmac`` the maximum in each region of
            :func:`rmac_regions` (Tolias et al., 2016, arXiv:1511.05879). R is 1 but for ``rmac``.
        power: Of ``gem``.
        levels: Of ``rmac``.
    """
    if pooling == "none":
        return normalize(features.flatten(1), dim=1)[:, None]
    if features.ndim != 4:
        raise RefusedRunError(
            f"retrieval: pooling {pooling!r} needs stored maps [N, C, H, W], these features are "
            f"{['N', *features.shape[1:]]}. Store maps with `extract.layers={{res5: none}}`, or "
            "use pooling: none."
        )
    if pooling == "rmac":
        regions = rmac_regions(features.shape[2], features.shape[3], levels)
        pooled = [features[:, :, y : y + s, x : x + s].amax((2, 3)) for y, x, s in regions]
        return normalize(torch.stack(pooled, dim=1), dim=2)
    if pooling == "gem":
        pooled_map = features.clamp(min=1e-6).pow(power).mean((2, 3)).pow(1 / power)
    else:
        pooled_map = features.mean((2, 3)) if pooling == "avg" else features.amax((2, 3))
    return normalize(pooled_map, dim=1)[:, None]


def rmac_regions(height: int, width: int, levels: int = 3) -> list[tuple[int, int, int]]:
    """Square regions of R-MAC as (top, left, side).

    At level l squares of side ``2 min(H, W) / (l + 1)``, rounded down, stand l along the shorter
    side, and l + m along the longer one, evenly. m makes squares of the first level overlap by as
    near to 40 % as can be.
    """
    short, long = min(height, width), max(height, width)
    extra = _extra(short, long)
    found = []
    for level in range(1, levels + 1):
        side = 2 * short // (level + 1)
        if side:
            down, across = (level + extra * (n == long != short) for n in (height, width))
            tops, lefts = _starts(height, side, down), _starts(width, side, across)
            found += [(top, left, side) for top in tops for left in lefts]
    return found


def _extra(short: int, long: int) -> int:
    if short == long:
        return 0
    overlaps = [1 - (long - short) / (count * short) for count in range(1, 7)]
    return 1 + min(range(6), key=lambda i: abs(overlaps[i] - _OVERLAP))


def _starts(length: int, side: int, count: int) -> list[int]:
    if count == 1:
        return [(length - side) // 2]
    return [int(i * (length - side) / (count - 1)) for i in range(count)]


@dataclass(frozen=True)
class Whitening:
    """PCA whitening: ``(x - mean) @ projection`` has unit variance in every direction kept."""

    mean: Tensor
    projection: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Whiten ``[..., C]`` into ``[..., dim]``."""
        return (x - self.mean.to(x)) @ self.projection.to(x)


def learn_whitening(
    rows: Callable[[], Iterable[Tensor]], dim: int | None = None, floor: float = 1e-5
) -> Whitening:
    """Learn PCA whitening from blocks of vectors, of which two passes are made.

    Args:
        rows: Gives blocks ``[n, C]``.
        dim: Directions kept, those of largest variance; all of them by default.
        floor: Variances below this share of the largest are raised to it.
    """
    count, total = 0, torch.zeros(())
    for block in rows():
        count, total = count + len(block), total + block.double().sum(0)
    mean = total / count
    scatter = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    for block in rows():
        centred = block.double() - mean
        scatter += centred.T @ centred
    variances, directions = torch.linalg.eigh(scatter / max(count - 1, 1))
    variances = variances.clamp_min(floor * float(variances[-1]))
    scaled = (directions / variances.sqrt()).flip(1)
    return Whitening(mean, scaled[:, : min(dim or len(mean), len(mean))])


def combined(regions: Tensor, whitening: Whitening | None) -> Tensor:
    """Make unit descriptors ``[B, D]`` of regions ``[B, R, C]``: whiten, normalise, add up."""
    if whitening is not None:
        regions = normalize(whitening(regions), dim=2)
    return normalize(regions.sum(1), dim=1)


def maps(features: np.ndarray, rows: np.ndarray, size: int) -> Iterator[Tensor]:
    """Blocks of some rows of stored features in their own shape, float32."""
    for start in range(0, len(rows), size):
        block: Any = np.asarray(features[rows[start : start + size]])
        yield torch.from_numpy(block).float()
