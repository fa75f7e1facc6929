"""Batch norm over ranks, on any device."""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sslight.distributed.collectives import gather_rows, is_distributed, rank, world_size

_groups: dict[int, tuple[Any, Any]] = {}


def _consecutive_group(size: int) -> Any:
    """Give this rank's group of ``size`` consecutive ranks, made once, by all ranks together."""
    world = dist.group.WORLD
    known = _groups.get(size)
    if known is None or known[0] is not world:
        starts = range(0, world_size(), size)
        groups = [dist.new_group(list(range(start, start + size))) for start in starts]
        known = _groups[size] = (world, groups[rank() // size])
    return known[1]


def _batch_norm_group(group_size: int | None) -> tuple[dist.ProcessGroup | None, int]:
    """Give the process group (None: all ranks) and its number of members."""
    world = world_size()
    if group_size is None or group_size >= world:
        return None, world
    if world % group_size:
        raise ValueError(
            f"SyncBatchNorm: {world} ranks cannot form groups of {group_size}. "
            f"Use a group size that divides {world}, or None for all ranks."
        )
    return (None, 1) if group_size == 1 else (_consecutive_group(group_size), group_size)


def _per_channel(x: Tensor, ndim: int) -> Tensor:
    return x.view(1, -1, *[1] * (ndim - 2))


def _linear(x: Tensor, scale: Tensor, shift: Tensor, out: Tensor | None = None) -> Tensor:
    """Compute ``scale * x + shift`` per channel in one pass over ``x``."""
    return torch.addcmul(_per_channel(shift, x.ndim), x, _per_channel(scale, x.ndim), out=out)


def _pooled_statistics(
    x: Tensor, group: dist.ProcessGroup | None, members: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Give mean ``[C]``, biased variance ``[C]`` and count (scalar) over a group's batches.

    Each rank sends its own mean and squared deviations, which are combined by Chan's formula: one
    collective, no cancellation, and ranks may hold batches of different size, even empty ones.
    """
    dims = [0, *range(2, x.ndim)]
    channels = x.shape[1]
    count = x.numel() // channels
    mean = x.sum(dims) / max(count, 1)
    deviations = (x - _per_channel(mean, x.ndim)).square_().sum(dims)
    packed = torch.cat([mean, deviations, mean.new_full((1,), count)]).unsqueeze(0)
    gathered = gather_rows(packed, group, members)  # [members, 2C + 1]
    means, squares, counts = torch.split(gathered, [channels, channels, 1], dim=1)
    total = counts.sum().clamp(min=1)
    mean = (counts * means).sum(0) / total
    variance = (squares + counts * (means - mean).square()).sum(0) / total
    return mean, variance, total


class _SyncedNorm(torch.autograd.Function):
    """Normalise by pooled statistics; sums for the backward are pooled likewise."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        group: dist.ProcessGroup | None,
        members: int,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean, variance, count = _pooled_statistics(wide, group, members)
        inverse_std = (variance + eps).rsqrt()
        scale = inverse_std if weight is None else inverse_std * weight.to(wide.dtype)
        shift = -mean * scale if bias is None else bias.to(wide.dtype) - mean * scale
        normed = _linear(wide, scale, shift)
        ctx.save_for_backward(x, weight, mean, inverse_std, count)
        ctx.group, ctx.bias_dtype = group, None if bias is None else bias.dtype
        ctx.mark_non_differentiable(mean, variance, count)
        return normed.to(x.dtype), mean, variance, count

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse_std, count = ctx.saved_tensors
        dims = [0, *range(2, x.ndim)]
        grad, wide = grad.to(mean.dtype), x.to(mean.dtype)
        centred = wide - _per_channel(mean, x.ndim)
        local = torch.stack([grad.sum(dims), centred.mul_(grad).sum(dims) * inverse_std])  # [2, C]
        grad_bias = None if ctx.bias_dtype is None else local[0].to(ctx.bias_dtype, copy=True)
        grad_weight = None if weight is None else local[1].to(weight.dtype, copy=True)
        dist.all_reduce(local, group=ctx.group)
        shift, slope = local / count
        scale = inverse_std if weight is None else inverse_std * weight.to(mean.dtype)
        slope = slope * inverse_std * scale
        # scale * (grad - shift - slope * hat), where hat is the normalised input
        grad_x = _linear(wide, -slope, slope * mean - shift * scale, out=centred)
        grad_x.addcmul_(grad, _per_channel(scale, x.ndim))
        return grad_x.to(x.dtype), grad_weight, grad_bias, None, None, None


class SyncBatchNorm(_BatchNorm):
    """Batch norm over the batches of several ranks, on any device.

    Value, gradients (of the input and, averaged over ranks, of weight and bias) and running
    statistics equal those of one process with the whole batch. Local batches may differ in size or
    be empty. Low-precision inputs are computed in float32. In eval mode, and with one rank, it is
    torch's batch norm for inputs ``[B, C, ...]``.

    Args:
        num_features: Channels C.
        eps: Added to the variance.
        momentum: Weight of the new statistics; None averages over all batches so far.
        affine: Learn a scale and a shift.
        track_running_stats: Keep running statistics for eval mode.
        group_size: Ranks per group, consecutive; None, or no fewer than there are, means all.
        device: Where parameters live.
        dtype: Type of the parameters.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        group_size: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)
        if group_size is not None and group_size < 1:
            raise ValueError(f"SyncBatchNorm: group_size is {group_size}; use 1 or more, or None.")
        self.group_size = group_size

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"SyncBatchNorm: expected [B, C, ...], got {tuple(input.shape)}.")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``[B, C, ...]``."""
        if not self.training or world_size() == 1:
            return super().forward(input)
        self._check_input_dim(input)
        group, members = _batch_norm_group(self.group_size)
        if members == 1:
            return super().forward(input)
        out, mean, variance, count = _SyncedNorm.apply(
            input, self.weight, self.bias, self.eps, group, members
        )
        self._track(mean, variance, count)
        normed: Tensor = out
        return normed

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        unbiased = variance * (count / (count - 1).clamp(min=1))
        for running, new in ((self.running_mean, mean), (self.running_var, unbiased)):
            new = new.to(running.dtype)
            if self.momentum is None and self.num_batches_tracked is not None:
                running.lerp_(new, self.num_batches_tracked.to(running.dtype).reciprocal())
            else:
                running.lerp_(new, self.momentum or 0.0)

    def extra_repr(self) -> str:
        """Add the group size to the representation."""
        return f"{self.num_features}, eps={self.eps}, group_size={self.group_size}"


class _SyncBatchNormAct(SyncBatchNorm):
    """timm's batch norm with drop and activation inside."""

    def forward(self, input: Tensor) -> Tensor:
        drop, act = self._modules["drop"], self._modules["act"]
        out = super().forward(input)
        for module in (drop, act):
            out = out if module is None else module(out)
        return out


def _converted(old: _BatchNorm, group_size: int | None) -> nn.Module:
    has_act = hasattr(old, "act") and hasattr(old, "drop")
    overrides = type(old).forward not in (_BatchNorm.forward, nn.SyncBatchNorm.forward)
    if overrides and not has_act and not isinstance(old, SyncBatchNorm):
        warnings.warn(
            f"convert_sync_batchnorm: {type(old).__name__} has a forward of its own and stays as "
            "it is: its statistics remain those of each rank.",
            stacklevel=3,
        )
        return old
    new_class = _SyncBatchNormAct if has_act else SyncBatchNorm
    new = new_class(old.num_features, old.eps, old.momentum, False, False, group_size=group_size)
    new.affine, new.track_running_stats = old.affine, old.track_running_stats
    new._parameters.update(old._parameters)
    new._buffers.update(old._buffers)
    new._modules.update(old._modules)
    new.training = old.training
    return new


def convert_sync_batchnorm(module: nn.Module, group_size: int | None = None) -> nn.Module:
    """Replace every batch norm inside ``module`` by :class:`SyncBatchNorm`, in place.

    Parameters and buffers are the same objects under the same names, and the training flag is kept.
    Frozen batch norms and those of momentum teachers are converted as well: in eval mode that
    changes nothing, and in train mode their statistics must be equal on all ranks. A class that
    overrides ``forward`` (a split or shuffled batch norm) is left alone, with a warning.

    Args:
        module: Any module; a batch norm itself is returned converted.
        group_size: Ranks per group; None for all.

    Returns:
        ``module``, or its replacement if it is a batch norm.
    """
    if is_distributed():
        _batch_norm_group(group_size)  # form the groups, or refuse the size, on all ranks now
    done: dict[nn.Module, nn.Module] = {}
    for parent in list(module.modules()):
        for name, child in parent._modules.items():
            if isinstance(child, _BatchNorm):
                if child not in done:
                    done[child] = _converted(child, group_size)
                parent._modules[name] = done[child]
    return _converted(module, group_size) if isinstance(module, _BatchNorm) else module
