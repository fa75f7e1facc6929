"""Batch norm over parts of a batch: what several devices without synchronisation would do."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class SplitBatchNorm(_BatchNorm):
    """Batch norm whose statistics, in train mode, are those of ``splits`` parts of the batch.

    Part s of n holds rows ``s B / n`` to ``(s + 1) B / n``, as device s of n would. The running
    statistics move by the mean of the parts' statistics. In eval mode it is torch's batch norm.

    Args:
        num_features: Channels C.
        splits: Parts n; they must divide the batch.
        eps: Added to the variance.
        momentum: Weight of the new statistics; None averages over all batches so far.
        affine: Learn a scale and a shift.
        track_running_stats: Keep running statistics for eval mode.
    """

    def __init__(
        self,
        num_features: int,
        splits: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats)
        self.splits = splits

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"SplitBatchNorm: expected [B, C, ...], got {tuple(input.shape)}.")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``[B, C, ...]``."""
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        batch, channels, *rest = input.shape
        if batch % self.splits:
            raise ValueError(
                f"SplitBatchNorm: a batch of {batch} does not fall into {self.splits} equal parts. "
                "Use a batch size per device that bn_splits divides."
            )
        # Make the channels of each part channels of their own.
        parts = input.view(self.splits, -1, channels, *rest).transpose(0, 1).flatten(1, 2)
        wide = torch.promote_types(input.dtype, torch.float32)
        means, variances = input.new_zeros(2, parts.shape[1], dtype=wide).unbind()
        weight, bias = (_repeated(values, self.splits) for values in (self.weight, self.bias))
        # With a momentum of 1 the zeros become the parts' means and unbiased variances.
        normed = F.batch_norm(
            parts, means, variances, weight, bias, training=True, momentum=1.0, eps=self.eps
        )
        self._track(means.view(self.splits, -1).mean(0), variances.view(self.splits, -1).mean(0))
        return normed.view(-1, self.splits, channels, *rest).transpose(0, 1).flatten(0, 1)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        for running, new in ((self.running_mean, mean), (self.running_var, variance)):
            new = new.to(running.dtype)
            if self.momentum is None and self.num_batches_tracked is not None:
                running.lerp_(new, self.num_batches_tracked.to(running.dtype).reciprocal())
            else:
                running.lerp_(new, self.momentum or 0.0)

    def extra_repr(self) -> str:
        """Add the number of parts to the representation."""
        return f"{self.num_features}, eps={self.eps}, splits={self.splits}"


def _repeated(values: Tensor | None, times: int) -> Tensor | None:
    return None if values is None else values.repeat(times)


def split_batch_norms(module: nn.Module, splits: int) -> nn.Module:
    """Replace every batch norm inside ``module`` by :class:`SplitBatchNorm`, in place.

    Parameters and buffers are the same objects under the same names.

    Args:
        module: A network; it is returned.
        splits: Parts of each batch; 1 changes nothing.
    """
    if splits < 1:
        raise ValueError(f"bn_splits is {splits}; use 1 (the whole batch) or more.")
    done: dict[nn.Module, SplitBatchNorm] = {}
    for parent in list(module.modules()) if splits > 1 else []:
        for name, child in parent._modules.items():
            if isinstance(child, _BatchNorm):
                if child not in done:
                    done[child] = _converted(child, splits)
                parent._modules[name] = done[child]
    return module


def _converted(old: _BatchNorm, splits: int) -> SplitBatchNorm:
    if type(old).forward is not _BatchNorm.forward:
        raise ValueError(
            f"bn_splits: {type(old).__name__} is a batch norm with a forward of its own, which "
            "cannot be split. Use bn_splits: 1, or a backbone with torch's batch norms."
        )
    new = SplitBatchNorm(old.num_features, splits, old.eps, old.momentum, False, False)
    new.affine, new.track_running_stats = old.affine, old.track_running_stats
    new._parameters.update(old._parameters)
    new._buffers.update(old._buffers)
    new.training = old.training
    return new
