"""Data parallelism without DDP's wrapper (VISSL's manual gradient reduction)."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn


class ManualReductionStrategy(DDPStrategy):
    """Broadcast the weights once; average all gradients after the backward of a whole step.

    It equals DDP, with clipping and accumulation, and never sees the graph: whatever DDP's hooks
    cannot follow (parameters used twice, checkpointing of any kind) works. It does not overlap
    communication with the backward, so DDP is faster where both work.

    Args:
        bucket_cap_mb: Size of the flat buffers that are reduced at once.
    """

    def __init__(self, bucket_cap_mb: int = 25, **lightning: Any) -> None:
        super().__init__(**lightning)
        self.bucket_bytes = bucket_cap_mb * 2**20

    def configure_ddp(self) -> None:
        """Make every rank start from rank 0's parameters and buffers, instead of wrapping."""
        for tensor in [*self._module.parameters(), *self._module.buffers()]:
            dist.broadcast(tensor.detach(), src=0)

    @property
    def _module(self) -> nn.Module:
        if self.model is None:
            raise RuntimeError("The strategy has no model yet.")
        return self.model

    def post_backward(self, closure_loss: Tensor) -> None:
        """Average the gradients over ranks, unless a micro-batch of the step is still to come."""
        del closure_loss
        if self.lightning_module is None or self.lightning_module.trainer is None:
            return
        if self.lightning_module.trainer.fit_loop._should_accumulate():
            return
        grads = [
            p.grad for p in self._module.parameters() if p.requires_grad and p.grad is not None
        ]
        for bucket in _buckets(grads, self.bucket_bytes):
            _average(bucket)


def _buckets(grads: list[Tensor], limit: int) -> list[list[Tensor]]:
    """Split gradients, in order, into lists of one dtype and at most ``limit`` bytes."""
    buckets: list[list[Tensor]] = []
    size = 0
    for grad in grads:
        size += grad.nbytes
        if not buckets or size > limit or buckets[-1][0].dtype != grad.dtype:
            buckets.append([])
            size = grad.nbytes
        buckets[-1].append(grad)
    return buckets


def _average(grads: list[Tensor]) -> None:
    flat = torch.cat([grad.reshape(-1) for grad in grads])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    pieces = torch.split(flat, [grad.numel() for grad in grads])
    torch._foreach_copy_(grads, [p.view_as(g) for p, g in zip(pieces, grads, strict=True)])
