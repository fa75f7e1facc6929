"""I-JEPA's context and target blocks, as a part of a batch: drawn in the worker, per sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sslight.augment.draws import uniforms
from sslight.augment.masks import check_share, check_whole, rectangles

#: Sets of blocks drawn for one sample; the first that leaves enough context is taken.
_ATTEMPTS = 6


@dataclass(frozen=True)
class JepaMasks:
    """Multi-block masks of I-JEPA (Assran et al., 2023, arXiv:2301.08243, section 3, figure 4).

    Per image ``targets`` rectangles, and one larger square, the context, from which the patches of
    all targets are removed. Areas and aspects are uniform in their ranges, places are uniform.

    Adds, as numbers of patches, row by row:

    - ``targets``: int64 ``[B, M, Kt]``, the patches of each rectangle, filled up with its first
      patch to the size Kt of the largest one possible;
    - ``target_valid``: bool ``[B, M, Kt]``, False where filled up;
    - ``context``: int64 ``[B, K]``, ascending; all valid, so that an encoder needs no mask;
    - ``mask_grid``: ``grid``, so that a method can tell whether the numbers fit its patches.

    Args:
        grid: Patches along each side of the view: P = grid * grid.
        targets: M.
        scale: Smallest and largest share of P in a target.
        aspect: Smallest and largest height / width of a target.
        context_scale: Smallest and largest share of P in the square, before targets are removed.
        context_tokens: K; None for a quarter of P.
        official: Draw as the authors' code does, see below.

    Raises:
        ValueError: A field has a value it cannot have, or K patches may not be left.

    Note:
        Every sample draws its own blocks; no shape depends on which samples share a batch, so
        neither ranks nor accumulation change anything. The authors' code draws one size per batch
        and cuts all contexts to the smallest in the batch: with 14 x 14 patches and 128 images to
        about a quarter of P, though 46 % are left on average. So K is a quarter of P here, always.
        A context too large is cut from a side at random; blocks that leave too little are drawn
        again (one sample in 200 at 14 x 14), and after five times all targets are the same block.

        ``official``: one number for a target's scale and aspect, one size for the M targets of an
        image, blocks never reach the last row and column (so that the context is always the same
        square at 14 x 14), and contexts are cut from the bottom.
    """

    grid: int
    targets: int = 4
    scale: tuple[float, float] = (0.15, 0.2)
    aspect: tuple[float, float] = (0.75, 1.5)
    context_scale: tuple[float, float] = (0.85, 1.0)
    context_tokens: int | None = None
    official: bool = False

    def __post_init__(self) -> None:
        for name in ("scale", "aspect", "context_scale"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_whole("masks", grid=self.grid, targets=self.targets, context_tokens=self.kept)
        check_share("masks", "scale", self.scale)
        check_share("masks", "context_scale", self.context_scale)
        if len(self.aspect) != 2 or not 0 < self.aspect[0] <= self.aspect[1]:
            raise ValueError(f"masks: aspect must be a pair 0 < low <= high, got {self.aspect!r}")
        left = self._side(self.context_scale[0]) ** 2 - self.largest_target
        if left < self.kept:
            raise ValueError(
                f"masks: a context may have only {left} of {self.grid**2} patches left, but "
                f"context_tokens is {self.kept}; give fewer, smaller targets, or smaller patches"
            )

    @property
    def kept(self) -> int:
        """K, the number of context patches."""
        return round(self.grid**2 / 4) if self.context_tokens is None else self.context_tokens

    @property
    def longest(self) -> int:
        """Most patches along a side of a block."""
        return max(self.grid - self.official, 1)

    @property
    def largest_target(self) -> int:
        """Kt, the number of patches in the largest target that can be drawn."""
        area = self.scale[1] * self.grid**2
        low, high = (math.sqrt(area * aspect) for aspect in self.aspect)
        largest = 1
        for height in range(max(math.floor(low), 1), math.ceil(high) + 1):
            aspect = max(self.aspect[0], (height - 0.5) ** 2 / area)  # the widest that rounds to it
            width = max(math.floor(math.sqrt(area / aspect) + 0.5), 1)
            largest = max(largest, min(height, self.longest) * min(width, self.longest))
        return largest

    def draw(self, seed: int, epoch: Tensor | int, index: Tensor) -> dict[str, Any]:
        """Draw the blocks of the samples ``index`` ``[B]``."""
        blocks = self.targets + 1  # the context is the last
        draws = uniforms(seed, epoch, index, 0, _ATTEMPTS * blocks * 4 + 1)
        side = draws[:, -1]
        draws = draws[:, :-1].reshape(-1, _ATTEMPTS, blocks, 4)
        targets, context = self._blocks(draws)  # [B, A, M, P], [B, A, P]
        targets[:, -1] = targets[:, -1, :1]  # the last attempt always leaves enough
        context &= ~targets.any(2)
        enough = context.sum(2) >= self.kept
        first = enough.to(torch.uint8).argmax(1)
        rows = torch.arange(len(index))
        tokens, valid = padded(targets[rows, first], self.largest_target)
        context = self._trim(context[rows, first], side)
        return {
            "targets": tokens,
            "target_valid": valid,
            "context": context,
            "mask_grid": self.grid,
        }

    def _blocks(self, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Return target and context blocks as masks of the P patches."""
        share, stretch = draws[..., 0], draws[..., 1]
        if self.official:
            share = stretch = share[:, :1, :1].expand_as(share)
        area, context_area = (_between(share, *s) for s in (self.scale, self.context_scale))
        area = torch.cat([area[..., :-1], context_area[..., -1:]], 2) * self.grid**2
        aspect = _between(stretch, *self.aspect)
        aspect[..., -1] = 1
        height = (area * aspect).sqrt().round_().clamp_(1, self.longest)
        width = (area / aspect).sqrt().round_().clamp_(1, self.longest)
        free = self.grid - self.official
        top = (draws[..., 2] * (free - height + 1).clamp_(min=1)).floor_()
        left = (draws[..., 3] * (free - width + 1).clamp_(min=1)).floor_()
        masks = rectangles(top, height, left, width, self.grid).flatten(3)
        return masks[:, :, :-1], masks[:, :, -1]

    def _trim(self, context: Tensor, side: Tensor) -> Tensor:
        """Cut contexts ``[B, P]`` to K patches from the bottom, top, right or left."""
        patch = torch.arange(self.grid**2)
        by_columns = patch % self.grid * self.grid + patch // self.grid
        orders = torch.stack([patch, -patch, by_columns, -by_columns])
        chosen = torch.zeros_like(side) if self.official else side * 4
        order = orders[chosen.long()].masked_fill(~context, self.grid**2)
        return order.argsort(1)[:, : self.kept].sort(1).values

    def _side(self, share: float) -> int:
        return max(min(round(math.sqrt(share) * self.grid), self.longest), 1)


def padded(masks: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Number the True entries of ``[..., P]``: ``[..., size]``, and which of them are valid."""
    order = (~masks).to(torch.uint8).argsort(dim=-1, stable=True)[..., :size]
    valid = torch.arange(size) < masks.sum(-1, keepdim=True)
    return torch.where(valid, order, order[..., :1]), valid


def _between(draws: Tensor, low: float, high: float) -> Tensor:
    return draws * (high - low) + low
