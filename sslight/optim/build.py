"""Make the optimizer, and set what changes before each of its steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer

from sslight.optim.recipe import Recipe
from sslight.optim.table import takes
from sslight.schedules import Clock, Schedule

#: What a group has where ``param_groups`` of a method did not say.
_DEFAULTS: dict[str, Any] = {
    "lr_scale": 1.0,
    "constant_lr": False,
    "wd_scale": 1.0,
    "fixed_decay": None,
    "freeze_steps": 0,
    "freeze_epochs": 0.0,
}


def build_optimizer(
    groups: Sequence[dict[str, Any]], recipe: Recipe, *, batch_size: int
) -> Optimizer:
    """The recipe's optimizer over these groups.

    A plain ``lr`` is set at its scaled peak, a schedule's as NaN: call ``apply_schedules`` before
    each step. Fused kernels are used on GPUs and CPUs, multi-tensor ones elsewhere, where the
    optimizer has them and ``options`` does not choose.

    Args:
        groups: As from ``parameter_groups``; missing settings get neutral values.
        recipe: The recipe.
        batch_size: Images per optimizer step over all ranks, for ``scale_lr``.
    """
    optimizer_class = recipe.optimizer_class
    filled = [{**_DEFAULTS, **group, "params": list(group["params"])} for group in groups]
    arguments = {**_kernel(optimizer_class, filled, recipe), **recipe.optimizer_arguments()}
    optimizer: Optimizer = optimizer_class(filled, lr=0.0, **arguments)  # type: ignore[call-arg]
    # Fused optimizers offer to unscale gradients themselves, for which Lightning then refuses
    # gradient clipping, in bf16 too. Without the offer both work.
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
    peak = _peak(recipe, batch_size)
    for group in optimizer.param_groups:
        group["lr"] = peak * group["lr_scale"]
    return optimizer


def _peak(recipe: Recipe, batch_size: int) -> float:
    """The highest learning rate; NaN for a schedule, which alone knows."""
    return math.nan if isinstance(recipe.lr, Schedule) else recipe.lr * recipe.lr_factor(batch_size)


def _kernel(
    optimizer_class: type[Optimizer], groups: list[dict[str, Any]], recipe: Recipe
) -> dict[str, bool]:
    """``fused`` or ``foreach``, whichever fits the parameters' devices."""
    if {"fused", "foreach", "differentiable"} & set(recipe.options):
        return {}
    parameters = [parameter for group in groups for parameter in group["params"]]
    devices = {parameter.device.type for parameter in parameters}
    sharded = any(hasattr(parameter, "to_local") for parameter in parameters)
    fits = devices == {"cuda"} or (devices == {"cpu"} and not sharded)
    if fits and takes(optimizer_class, "fused"):
        return {"fused": True}
    return {"foreach": True} if takes(optimizer_class, "foreach") else {}


def apply_schedules(optimizer: Optimizer, recipe: Recipe, clock: Clock, *, batch_size: int) -> None:
    """Set each group's learning rate and weight decay for the step at which ``clock`` stands."""
    lr, peak = recipe.scaled_lr(batch_size)(clock), _peak(recipe, batch_size)
    decay = recipe.decay_schedule()(clock)
    for group in optimizer.param_groups:
        group["lr"] = (peak if group["constant_lr"] else lr) * group["lr_scale"]
        if "weight_decay" in optimizer.defaults:
            fixed = group["fixed_decay"]
            group["weight_decay"] = decay * group["wd_scale"] if fixed is None else fixed


def apply_freeze(optimizer: Optimizer, clock: Clock) -> None:
    """Drop the gradients of groups that are still frozen: no step, no momentum, no decay."""
    for group in optimizer.param_groups:
        steps = max(group["freeze_steps"], round(group["freeze_epochs"] * clock.per_epoch))
        if clock.step < steps:
            for parameter in group["params"]:
                parameter.grad = None
