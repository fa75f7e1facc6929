"""Optimizers and their recipe: what is trained, how fast, and for how long.

``parameter_groups(module, recipe)`` sorts the parameters, ``build_optimizer(groups, recipe, ...)``
makes the optimizer, ``apply_schedules(optimizer, recipe, clock, ...)`` sets learning rates and
weight decays before each step.
"""

from __future__ import annotations

from sslight.optim.build import apply_freeze, apply_schedules, build_optimizer
from sslight.optim.groups import parameter_groups
from sslight.optim.larc import LARC
from sslight.optim.lars import LARS
from sslight.optim.recipe import ParamRule, Recipe
from sslight.optim.table import OPTIMIZERS, find_optimizer

__all__ = [
    "LARC",
    "LARS",
    "OPTIMIZERS",
    "ParamRule",
    "Recipe",
    "apply_freeze",
    "apply_schedules",
    "build_optimizer",
    "find_optimizer",
    "parameter_groups",
]
