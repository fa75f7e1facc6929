"""LARC: layer-wise adaptive rate around SGD, as VISSL's and Apex' recipes use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from sslight.optim.layerwise import (
    check_ranges,
    full_norms,
    gradient_batches,
    local,
    momentum_step,
    split_by_ndim,
)


class LARC(Optimizer):
    r"""SGD on gradients scaled per tensor (the paper's denominator, arXiv:1708.03888 eq. 6).

    .. math::
        r = \tau \lVert p \rVert / (\lVert g \rVert + \lambda \lVert p \rVert + \epsilon), \qquad
        u = r (g + \lambda p)

    and then :math:`m \leftarrow \mu m + u`, :math:`p \leftarrow p - \gamma m`. Where
    :math:`\lVert p \rVert` or :math:`\lVert g \rVert` is 0 the gradient is used as it is, without
    decay. With ``clip``, :math:`r \leftarrow \min(r / \gamma, 1)`: it never exceeds the
    global rate.

    Args:
        params: Parameters or groups.
        lr: Learning rate gamma.
        momentum: Momentum mu.
        weight_decay: Decay lambda.
        nesterov: Look ahead, as in ``torch.optim.SGD``.
        trust: Trust coefficient tau.
        clip: Only ever shrink the learning rate.
        eps: Added to the denominator.
        exclude_1d: Give tensors of at most one dimension plain SGD (weight decay of their group
            included). Off as in VISSL; ``trust=0.02, clip=True, exclude_1d=True`` is solo-learn's
            "LARS".
    """

    def __init__(
        self,
        params: Any,
        lr: float = 0.3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        trust: float = 0.001,
        clip: bool = False,
        eps: float = 1e-8,
        exclude_1d: bool = False,
    ) -> None:
        check_ranges(
            "LARC", lr=lr, momentum=momentum, weight_decay=weight_decay, trust=trust, eps=eps
        )
        if nesterov and not momentum:
            raise ValueError("LARC: nesterov needs a momentum above 0.")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "trust": trust,
            "clip": clip,
            "eps": eps,
            "exclude_1d": exclude_1d,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step; ``closure`` computes the loss and the gradients first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for params, grads in gradient_batches(group):
                momentum_step(self, params, _scaled_updates(params, grads, group), group)
        return loss


def _scaled_updates(
    params: list[Tensor], grads: list[Tensor], group: dict[str, Any]
) -> list[Tensor]:
    """``r * (g + weight_decay * p)`` on local shards; plain SGD's update where left out."""
    updates = [local(grad) for grad in grads]
    adapted, plain = split_by_ndim(params, grads, exclude_1d=group["exclude_1d"])
    if adapted:
        ratio, decay = _rates([params[i] for i in adapted], [grads[i] for i in adapted], group)
        scaled = torch._foreach_mul([updates[i] for i in adapted], list(ratio.unbind()))
        if group["weight_decay"]:
            pulls = torch._foreach_mul([local(params[i]) for i in adapted], list(decay.unbind()))
            torch._foreach_add_(scaled, pulls)
        for i, update in zip(adapted, scaled, strict=True):
            updates[i] = update
    for i in plain if group["weight_decay"] else ():
        updates[i] = updates[i].add(local(params[i]), alpha=group["weight_decay"])
    return updates


def _rates(
    params: list[Tensor], grads: list[Tensor], group: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Factors of each gradient and of each parameter in the update."""
    weight_norm, grad_norm = full_norms(params), full_norms(grads)
    ratio = group["trust"] * weight_norm
    ratio = ratio / (grad_norm + group["weight_decay"] * weight_norm + group["eps"])
    if group["clip"]:  # lr == 0 divides to infinity, which the clip turns into 1
        ratio = (ratio / group["lr"]).clamp(max=1.0) if group["lr"] else torch.ones_like(ratio)
    usable = (weight_norm > 0) & (grad_norm > 0)
    return torch.where(usable, ratio, 1.0), torch.where(usable, ratio * group["weight_decay"], 0.0)
