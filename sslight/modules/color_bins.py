"""Colours as classes: the bins of the a-b plane, and how often each of them occurs."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sslight.distributed import sum_over_ranks
from sslight.losses.precision import full_precision
from sslight.modules.lab import rgb_to_lab


class Encoded(NamedTuple):
    """The ``k`` nearest bins of each colour, ``[N, k]``, nearest first, and their shares of 1."""

    bin: Tensor
    share: Tensor


class ColorBins(nn.Module):
    """The bins of Zhang et al. (2016, arXiv:1603.08511), section 2.1, and a count of their use.

    The a-b plane is cut into cells of ``step`` around multiples of ``step``; those that at least
    one 8-bit sRGB colour falls into are kept. With a step of 10 there are 261 of them.

    The counts are int64, summed over ranks, and saved with the method.

    Args:
        step: Width of a cell.

    Note:
        The authors' list ships as a file and has 313 bins, more than sRGB has; how it was made is
        not said. Here the list is computed.
    """

    bins: Tensor
    counts: Tensor

    def __init__(self, step: int = 10) -> None:
        super().__init__()
        # Small whole numbers: exact in every floating-point type that a model is cast to.
        self.register_buffer("bins", gamut_bins(step).clone(), persistent=False)
        self.register_buffer("counts", torch.zeros(len(self.bins), dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.bins)

    def encode(self, ab: Tensor, neighbours: int = 5, sigma: float = 5.0) -> Encoded:
        """Spread colours ``[N, 2]`` over their nearest bins by a Gaussian (soft-encoding).

        Args:
            ab: Colours.
            neighbours: k.
            sigma: Standard deviation of the Gaussian.
        """
        bins = self.bins.to(ab.dtype)
        exactly = "donot_use_mm_for_euclid_dist"
        nearest = torch.cdist(ab, bins, compute_mode=exactly).topk(neighbours, largest=False)
        # As a softmax, so that colours far from every bin (averages of pixels) do not vanish.
        return Encoded(nearest.indices, (-nearest.values.square() / (2 * sigma**2)).softmax(1))

    def weights(self, uniform: float = 0.5, sigma: float = 5.0) -> Tensor:
        """Compute the weight ``[Q]`` of each bin's colours (class rebalancing, eq. 4).

        ``1 / ((1 - uniform) p + uniform / Q)``, scaled to a mean of 1 under p, where p are the
        counts smoothed by a Gaussian over the plane. All are 1 before anything was counted.

        Args:
            uniform: Lambda, the share of the uniform distribution; 1 weighs all colours alike.
            sigma: Standard deviation of the Gaussian.
        """
        prior = _smoothed(self.counts, self.bins, sigma)
        weights = 1 / ((1 - uniform) * prior + uniform / len(prior))
        return weights / (prior * weights).sum()

    @torch.no_grad()
    def count(self, index: Tensor) -> None:
        """Count the bins ``index`` ``[N]`` of this rank's colours, and those of all others."""
        seen = torch.zeros_like(self.counts)
        seen.index_add_(0, index, torch.ones_like(index))
        self.counts += sum_over_ranks(seen)


@full_precision
def _smoothed(counts: Tensor, bins: Tensor, sigma: float) -> Tensor:
    """Spread each bin's count over the plane, and normalise; uniform where all are 0."""
    kernel = (-(bins[:, None] - bins).square().sum(2) / (2 * sigma**2)).softmax(1)  # rows sum to 1
    total = counts.sum()
    prior = (counts.to(kernel.dtype) / total.clamp(min=1)) @ kernel
    return torch.where(total > 0, prior, 1 / len(counts))


@cache
def gamut_bins(step: int = 10) -> Tensor:
    """List the cells that 8-bit sRGB colours fall into, by their centres ``[Q, 2]`` float32.

    Only colours with a channel at 0 or 255 are looked at. They are the surface of the RGB cube, and
    projected along L the surface covers all that the cube does.
    """
    if step < 1:
        raise ValueError(f"ColorBins: step is {step}; use 1 or more.")
    one, two = torch.cartesian_prod(*[torch.arange(256, device="cpu")] * 2).unbind(1)
    faces = [
        torch.stack([one, two, torch.full_like(one, end)]).roll(axis, 0)
        for end in (0, 255)
        for axis in range(3)
    ]
    colours = torch.cat(faces, dim=1).T.double() / 255  # [6 * 256 * 256, 3]
    cells = (rgb_to_lab(colours)[:, 1:] / step).round()
    bins: Tensor = torch.unique(cells, dim=0) * step
    return bins.float()
