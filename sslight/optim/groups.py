"""Sort a module's parameters into few groups of equal settings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from torch import nn

from sslight.optim.layer_depth import layer_depths
from sslight.optim.recipe import ParamRule, Recipe

_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    *([nn.RMSNorm] if hasattr(nn, "RMSNorm") else []),
)
_BACKBONE = re.compile(r"(?:^|\.)backbone\.")


@dataclass(frozen=True)
class _Settings:
    """What the parameters of one group have in common."""

    lr_scale: float
    constant_lr: bool
    wd_scale: float
    fixed_decay: float | None
    freeze_steps: int
    freeze_epochs: float


def parameter_groups(module: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Groups of the trainable parameters, ready for ``build_optimizer``.

    Each group holds ``params`` and, for schedules, logs and checkpoints, ``name``, ``names`` (of
    its parameters), ``lr_scale``, ``constant_lr``, ``wd_scale`` (0 where there is no decay),
    ``fixed_decay`` (a rule's own, or None), ``freeze_steps`` and ``freeze_epochs``. Biases, norms
    and other tensors of at most one dimension are not decayed unless the recipe says so. Parameters
    that require no gradient are left out; shared ones appear once.

    Raises:
        ValueError: A rule matches no parameter, ``layer_decay`` finds no blocks, or nothing is
            trainable.
    """
    everything = dict(module.named_parameters())
    _check_rules(recipe, list(everything))
    trainable = {name: p for name, p in everything.items() if p.requires_grad}
    if not trainable:
        raise ValueError(
            f"Nothing to optimise: {type(module).__name__} has {len(everything)} parameters, none "
            "of which requires a gradient. Is everything frozen?"
        )
    scales, labels = _learning_rate_scales(list(everything), recipe)
    exempt = set(_undecayed(module, recipe))
    groups: dict[_Settings, dict[str, Any]] = {}
    for name, parameter in trainable.items():
        rule = next((r for r in recipe.groups or () if re.search(r.pattern, name)), None)
        settings = _settings(rule, scales[name], decayed=name not in exempt)
        label = _label(rule, labels[name], decayed=name not in exempt)
        group = groups.setdefault(
            settings, {"params": [], "name": label, "names": [], **vars(settings)}
        )
        group["params"].append(parameter)
        group["names"].append(name)
    return _with_unique_names(list(groups.values()))


def _settings(rule: ParamRule | None, lr_scale: float, *, decayed: bool) -> _Settings:
    rule = rule or ParamRule("")
    return _Settings(
        lr_scale=lr_scale * rule.lr_scale,
        constant_lr=rule.constant_lr,
        wd_scale=1.0 if decayed or rule.weight_decay is not None else 0.0,
        fixed_decay=rule.weight_decay,
        freeze_steps=rule.freeze_steps,
        freeze_epochs=rule.freeze_epochs,
    )


def _label(rule: ParamRule | None, label: str, *, decayed: bool) -> str:
    decay = "decay" if decayed else "no_decay"
    if rule is not None and rule.weight_decay is not None:
        decay = ""
    parts = [label, "" if rule is None else rule.pattern, decay]
    return "/".join(part for part in parts if part)


def _with_unique_names(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    seen: dict[str, int] = {}
    for group in groups:
        count = seen[group["name"]] = seen.get(group["name"], 0) + 1
        if count > 1:
            group["name"] += f"_{count}"
    return groups


def _learning_rate_scales(
    names: list[str], recipe: Recipe
) -> tuple[dict[str, float], dict[str, str]]:
    """Factor on the learning rate by layer decay and head lr, and a word for it, by name."""
    scales, labels = dict.fromkeys(names, 1.0), dict.fromkeys(names, "")
    trunk = [name for name in names if _BACKBONE.search(name)] or names
    if recipe.layer_decay is not None:
        depths, deepest = layer_depths(trunk)
        for name, depth in zip(trunk, depths, strict=True):
            scales[name] = recipe.layer_decay ** (deepest + 1 - depth)
            labels[name] = f"depth{depth}"
    if recipe.head_lr is not None and isinstance(recipe.lr, (int, float)):
        if len(trunk) == len(names):
            raise ValueError(
                "optim.head_lr: found no parameters beside the backbone's. The backbone must be an "
                "attribute named 'backbone', and the head beside it."
            )
        for name in set(names) - set(trunk):
            scales[name], labels[name] = recipe.head_lr / recipe.lr, "head"
    return scales, labels


def _undecayed(module: nn.Module, recipe: Recipe) -> Iterator[str]:
    """Names of the parameters that get no weight decay by their kind."""
    for prefix, owner in module.named_modules():
        norm = isinstance(owner, _NORMS) or type(owner).__name__.endswith("Norm")
        for name, parameter in owner.named_parameters(recurse=False):
            small = parameter.ndim <= 1 or name == "bias"
            if (norm and not recipe.decay_norm) or (not norm and small and not recipe.decay_bias):
                yield f"{prefix}.{name}" if prefix else name


def _check_rules(recipe: Recipe, names: list[str]) -> None:
    for rule in recipe.groups or ():
        if any(re.search(rule.pattern, name) for name in names):
            continue
        word = re.sub(r"[\^$\\()\[\]*+?|]", "", rule.pattern)
        near = get_close_matches(word, names, n=5, cutoff=0.3) or names[:5]
        raise ValueError(
            f"optim.groups: the pattern '{rule.pattern}' matches none of {len(names)} parameters. "
            f"Names near it: {', '.join(near) or 'none'}."
        )
