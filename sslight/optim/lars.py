"""LARS (You, Gitman, Ginsburg, 2017, arXiv:1708.03888)."""

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


class LARS(Optimizer):
    r"""SGD with momentum whose step is scaled per tensor to the size of the tensor.

    .. math::
        u = g + \lambda p, \qquad q = \eta \lVert p \rVert / \lVert u \rVert, \qquad
        m \leftarrow \mu m + q u, \qquad p \leftarrow p - \gamma m

    :math:`q = 1` where a norm is 0. Biases and every other tensor of at most one dimension get
    neither weight decay nor trust ratio: :math:`u = g, q = 1`.

    Args:
        params: Parameters or groups.
        lr: Learning rate gamma.
        momentum: Momentum mu.
        weight_decay: Decay lambda of tensors of two and more dimensions.
        eta: Trust coefficient.
        exclude_1d: Leave tensors of at most one dimension out of decay and trust ratio.

    Note:
        The paper divides by ``||g|| + lambda ||p||``. This is the form of the SimCLR, BYOL, Barlow
        Twins and VICReg code: ``||g + lambda p||``. ``LARC`` is the other one.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 0.3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        eta: float = 0.001,
        exclude_1d: bool = True,
    ) -> None:
        check_ranges("LARS", lr=lr, momentum=momentum, weight_decay=weight_decay, eta=eta)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "eta": eta,
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
    """``q * (g + weight_decay * p)`` on local shards; the plain gradient where left out."""
    updates = [local(grad) for grad in grads]
    adapted, _ = split_by_ndim(params, grads, exclude_1d=group["exclude_1d"])
    if not adapted:
        return updates
    weights = [params[i] for i in adapted]
    decayed = [grads[i] for i in adapted]
    if group["weight_decay"]:
        decayed = list(torch._foreach_add(decayed, weights, alpha=group["weight_decay"]))
    weight_norm, update_norm = full_norms(weights), full_norms(decayed)
    ratio = torch.where(
        (weight_norm > 0) & (update_norm > 0), group["eta"] * weight_norm / update_norm, 1.0
    )
    scaled = [local(update) for update in decayed]
    if group["weight_decay"]:
        torch._foreach_mul_(scaled, list(ratio.unbind()))
    else:  # these are the gradients themselves
        scaled = list(torch._foreach_mul(scaled, list(ratio.unbind())))
    for i, update in zip(adapted, scaled, strict=True):
        updates[i] = update
    return updates
