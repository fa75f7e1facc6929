"""Mixup and CutMix, batched on the device, drawn per image from its counter."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslight.augment.draws import seed_of, uniforms

#: Sets mixing's stream of draws apart from the views'.
_STREAM = 0x6D6978


class Mixed(NamedTuple):
    """Mixed images ``[B, C, H, W]``, the share ``[B]`` of each own image, and its partner's row."""

    images: Tensor
    share: Tensor
    partner: Tensor


class Mix(nn.Module):
    """Mix each image with its neighbour in the batch.

    Mixup (Zhang et al., 2018, arXiv:1710.09412): ``share * image + (1 - share) * partner``, with
    the share from Beta(alpha, alpha). CutMix (Yun et al., 2019, arXiv:1905.04899): a box of the
    partner covering ``1 - share`` of the area; what the border cuts off is given back to the share.

    Partners are rows 2k and 2k + 1: neighbours of the shuffled global batch, so that pairs do not
    depend on the number of ranks as long as each rank's batch is even. The last row of an odd batch
    stays as it is. Shares and boxes are functions of (seed, epoch, image index).

    Args:
        mixup: Alpha of mixup, 0 for none.
        cutmix: Alpha of CutMix, 0 for none.
        prob: Probability that an image is mixed at all.
        switch_prob: Probability of CutMix where both are on.

    Note:
        The papers draw one share for a batch and a random partner. Here each image draws its own
        share and its kind, which keeps a sample's draw independent of the batch it lies in.
    """

    def __init__(
        self,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        prob: float = 1.0,
        switch_prob: float = 0.5,
    ) -> None:
        super().__init__()
        if mixup < 0 or cutmix < 0:
            raise ValueError(f"Mix: alphas must be 0 or more, got {mixup} and {cutmix}.")
        for name, value in (("prob", prob), ("switch_prob", switch_prob)):
            if not 0 <= value <= 1:
                raise ValueError(f"Mix: {name} is {value}; a probability lies in [0, 1].")
        self.mixup, self.cutmix, self.prob = mixup, cutmix, prob
        self.switch_prob = switch_prob if mixup and cutmix else float(cutmix > 0)

    @property
    def mixes(self) -> bool:
        """Whether any image is mixed."""
        return self.mixup > 0 or self.cutmix > 0

    def forward(self, images: Tensor, index: Tensor, *, seed: int, epoch: int) -> Mixed:
        """Mix ``[B, C, H, W]``, whose dataset indices are ``index`` ``[B]``."""
        if not self.mixes:
            everything = torch.ones(len(images), device=images.device)
            return Mixed(images, everything, torch.arange(len(images), device=images.device))
        u = uniforms(seed_of(seed, _STREAM), epoch, index, 0, 5).to(images.device)  # [B, 5]
        partner = partners(len(images), images.device)
        paired = partner != torch.arange(len(images), device=images.device)
        cut = u[:, 1] < self.switch_prob
        share = torch.where(cut, beta(u[:, 2], self.cutmix or 1), beta(u[:, 2], self.mixup or 1))
        share = torch.where((u[:, 0] < self.prob) & paired, share, 1)
        box = boxes(share, u[:, 3], u[:, 4], images.shape[-2], images.shape[-1])
        share = torch.where(cut, 1 - box.float().mean((1, 2)), share)
        weight = torch.where(cut[:, None, None], (~box).float(), share[:, None, None])
        weight = weight[:, None].to(images.dtype)  # [B, 1, H, W]
        return Mixed(weight * images + (1 - weight) * images[partner], share, partner)


def partners(batch: int, device: torch.device | str = "cpu") -> Tensor:
    """Pair rows 2k and 2k + 1; the last row of an odd batch is its own partner."""
    partner = torch.arange(batch, device=device) ^ 1
    return partner.clamp(max=batch - 1)


def boxes(share: Tensor, x: Tensor, y: Tensor, height: int, width: int) -> Tensor:
    """Draw boxes ``[B, H, W]`` (bool) of area ``1 - share`` around centres in [0, 1), clipped."""
    side = (1 - share).clamp(min=0).sqrt()

    def span(centre: Tensor, length: int) -> Tensor:
        cut = (side * length).floor()
        low = (centre * length).floor() - (cut / 2).floor()
        places = torch.arange(length, device=share.device)  # what lies outside is clipped
        return (places >= low[:, None]) & (places < (low + cut)[:, None])

    return span(y, height)[:, :, None] & span(x, width)[:, None, :]


def beta(u: Tensor, alpha: float, knots: int = 4096) -> Tensor:
    """Map uniforms to Beta(alpha, alpha) by its inverse distribution function.

    The lower half is tabled in t = x ** min(alpha, 1), in which the density is bounded for every
    alpha; the upper half is its mirror image.
    """
    power = min(alpha, 1.0)
    t = torch.linspace(0, 0.5**power, knots, dtype=torch.float64, device=u.device)
    x = t ** (1 / power)
    mass = torch.cumulative_trapezoid(x ** (alpha - power) * (1 - x) ** (alpha - 1), t)
    mass = F.pad(mass, (1, 0)) / mass[-1]
    lower = 2 * torch.minimum(u, 1 - u).double()
    right = torch.searchsorted(mass, lower.contiguous()).clamp(1, knots - 1)
    left = right - 1
    fraction = (lower - mass[left]) / (mass[right] - mass[left]).clamp(min=1e-300)
    x = (t[left] + fraction * (t[right] - t[left])) ** (1 / power)
    return torch.where(u < 0.5, x, 1 - x).to(u.dtype)


def mixed_targets(label: Tensor, mixed: Mixed, num_classes: int) -> Tensor:
    """Mix labels as their images were: class ids ``[B]``, or multi-label targets ``[B, K]``."""
    if label.ndim == 2:
        return mixed_labels(label, mixed)
    return mixed_classes(label, mixed, num_classes)


def mixed_classes(label: Tensor, mixed: Mixed, num_classes: int) -> Tensor:
    """Mix class ids ``[B]`` into probabilities ``[B, K]``; a row with an unknown part is all -1."""
    own = F.one_hot(label.clamp(min=0), num_classes).to(mixed.share.dtype)
    share = mixed.share[:, None]
    target = share * own + (1 - share) * own[mixed.partner]
    known = (label >= 0) & ((label[mixed.partner] >= 0) | (mixed.share == 1))
    return torch.where(known[:, None], target, -1.0)


def mixed_labels(label: Tensor, mixed: Mixed) -> Tensor:
    """Mix multi-label targets ``[B, K]``; an entry unknown (-1) on either side stays -1."""
    share = mixed.share[:, None]
    other = label[mixed.partner]
    target = share * label + (1 - share) * other
    known = (label >= 0) & ((other >= 0) | (share == 1))
    return torch.where(known, target, -1.0)
