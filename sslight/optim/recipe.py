"""The optimisation recipe: every number of it, checked when it is written down."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch.optim import Optimizer

from sslight.optim.table import did_you_mean, find_optimizer, option_names, takes
from sslight.schedules import Constant, Cosine, Linear, Schedule, as_schedule, warmup

#: Shapes that a plain learning rate can take by one word.
SHAPES = {"constant": Constant, "linear": Linear, "cosine": Cosine}

#: Momentum where the recipe says nothing; other optimizers keep their own default.
_DEFAULT_MOMENTUM = {"sgd": 0.9, "lars": 0.9, "larc": 0.9, "SGD": 0.9}


@dataclass(frozen=True)
class ParamRule:
    """Settings for the parameters whose name contains a match of ``pattern``.

    Attributes:
        pattern: Regular expression, searched anywhere in the parameter's full name.
        lr_scale: Factor on the learning rate.
        constant_lr: Stay at the peak of the learning rate from the first step to the last, without
            warmup and schedule (SimSiam's predictor).
        weight_decay: Fixed weight decay instead of the recipe's; None keeps the recipe's (and its
            exemptions).
        freeze_steps: No gradient, so no movement, momentum or decay, for the first n steps.
        freeze_epochs: The same in epochs; the longer of the two holds.
    """

    pattern: str
    lr_scale: float = 1.0
    constant_lr: bool = False
    weight_decay: float | None = None
    freeze_steps: int = 0
    freeze_epochs: float = 0.0

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(
                f"ParamRule.pattern: '{self.pattern}' is not a regular expression: {error}."
            ) from error
        for name in ("lr_scale", "weight_decay", "freeze_steps", "freeze_epochs"):
            _not_negative(f"ParamRule('{self.pattern}').{name}", getattr(self, name))


@dataclass(frozen=True)
class Recipe:
    """How a module is optimised. Nothing here depends on the batch size or the length of training.

    Attributes:
        optimizer: ``sgd adam adamw lars larc``, a class name of ``torch.optim``, or a class.
        lr: Peak learning rate for ``base_batch_size`` images; or a schedule, used as it is (with
            ``scale_lr``), which leaves ``warmup_epochs``, ``warmup_lr`` and ``end_lr`` without use.
        scale_lr: ``"linear"`` multiplies learning rates by batch / base_batch_size, ``"sqrt"`` by
            its root, None by nothing. The batch is the global one.
        base_batch_size: Images per step for which ``lr`` is meant.
        schedule: How a plain ``lr`` goes to ``end_lr`` after the warmup: ``constant linear
            cosine``, or a schedule of factors by which ``lr`` is multiplied.
        end_lr: Last learning rate, scaled like ``lr``.
        warmup_epochs: Linear warmup from ``warmup_lr`` to ``lr``.
        warmup_lr: Learning rate of the very first step, scaled like ``lr``.
        weight_decay: Weight decay, constant or scheduled; never scaled by the batch size.
        momentum: Momentum of optimizers that have one; None is 0.9 for sgd, lars and larc, and the
            optimizer's own default elsewhere.
        larc: Use LARC's layer-wise rates around sgd (``options`` then takes LARC's arguments).
        groups: Rules for single parameters; the first rule that matches a name decides.
        decay_bias: Decay biases and other tensors of at most one dimension.
        decay_norm: Decay the parameters of normalisation layers.
        layer_decay: Factor per layer of depth on the backbone's learning rates, below 1 (BEiT's).
        head_lr: Learning rate of everything outside the backbone, instead of ``lr``.
        options: Further arguments of the optimizer itself, such as ``{betas: [0.9, 0.95]}``.
    """

    optimizer: str | type[Optimizer] = "sgd"
    lr: float | Schedule = 0.05
    scale_lr: Literal["linear", "sqrt"] | None = None
    base_batch_size: int = 256
    schedule: str | Schedule = "cosine"
    end_lr: float = 0.0
    warmup_epochs: float = 0.0
    warmup_lr: float = 0.0
    weight_decay: float | Schedule = 0.0
    momentum: float | None = None
    larc: bool = False
    groups: tuple[ParamRule, ...] | None = None
    decay_bias: bool = False
    decay_norm: bool = False
    layer_decay: float | None = None
    head_lr: float | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(self.groups or ()))
        object.__setattr__(self, "options", _tupled(self.options))
        self._check_learning_rate()
        self._check_ranges()
        self._check_optimizer()

    @property
    def optimizer_class(self) -> type[Optimizer]:
        """The class that is built; LARC where ``larc`` is set."""
        return find_optimizer("larc" if self.larc else self.optimizer)

    def lr_factor(self, batch_size: int) -> float:
        """What ``scale_lr`` multiplies learning rates by for this global batch size."""
        factor = batch_size / self.base_batch_size
        return {"linear": factor, "sqrt": math.sqrt(factor), None: 1.0}[self.scale_lr]

    def scaled_lr(self, batch_size: int) -> Schedule:
        """The learning rate's schedule for this global batch size, warmup included."""
        factor = self.lr_factor(batch_size)
        return self.lr_schedule().scaled(factor) if factor != 1.0 else self.lr_schedule()

    def lr_schedule(self) -> Schedule:
        """The learning rate's schedule for ``base_batch_size`` images, warmup included."""
        if isinstance(self.lr, Schedule):
            return self.lr
        return warmup(self._shape(float(self.lr)), self.warmup_epochs, self.warmup_lr)

    def _shape(self, lr: float) -> Schedule:
        if isinstance(self.schedule, Schedule):
            return self.schedule.scaled(lr)
        if self.schedule == "constant":
            return Constant(lr)
        return Linear(lr, self.end_lr) if self.schedule == "linear" else Cosine(lr, self.end_lr)

    def decay_schedule(self) -> Schedule:
        """The weight decay's schedule."""
        return as_schedule(self.weight_decay)

    def optimizer_arguments(self) -> dict[str, Any]:
        """Arguments of the optimizer besides parameters, learning rate and weight decay."""
        default = _DEFAULT_MOMENTUM.get(self.optimizer) if isinstance(self.optimizer, str) else None
        momentum = default if self.momentum is None else self.momentum
        return {**({} if momentum is None else {"momentum": momentum}), **self.options}

    def describe_lr(self, batch_size: int) -> str:
        """One line for the log: the learning rate, and how it came about."""
        peak = "schedule" if isinstance(self.lr, Schedule) else f"{self.lr:g}"
        if self.scale_lr is None:
            return f"lr {peak} (not scaled by the batch size of {batch_size})"
        factor = self.lr_factor(batch_size)
        result = "" if isinstance(self.lr, Schedule) else f" = {self.lr * factor:g}"
        ratio = f"{batch_size}/{self.base_batch_size}"
        return f"lr {peak} x {factor:g}{result} ({self.scale_lr} in batch size, {ratio})"

    # ---------------------------------------------------------------- checks

    def _check_learning_rate(self) -> None:
        if not isinstance(self.lr, Schedule):
            _not_negative("optim.lr", self.lr)
        elif self.warmup_epochs or self.warmup_lr or self.end_lr:
            raise ValueError(
                "optim: lr is a schedule and is used as it is, so warmup_epochs, warmup_lr and "
                f"end_lr must stay 0, got {self.warmup_epochs}, {self.warmup_lr}, {self.end_lr}. "
                "Write lr: {name: warmup, epochs: 10, schedule: {...}} for a warmup before it."
            )
        elif any(rule.constant_lr for rule in self.groups or ()):
            raise ValueError("optim.groups: constant_lr needs a plain number as lr, for its peak.")
        elif self.head_lr is not None:
            raise ValueError(
                "optim.head_lr needs a plain number as lr. With a schedule, give the head a rule: "
                "groups: [{pattern: ..., lr_scale: 10}]."
            )
        if isinstance(self.schedule, str) and self.schedule not in SHAPES:
            raise ValueError(
                f"optim.schedule: {self.schedule!r} is not one of {', '.join(SHAPES)}."
                f"{did_you_mean(self.schedule, SHAPES)} Others need numbers of their own: write "
                "lr: {name: multistep, values: [...], milestones: [...]}."
            )
        if isinstance(self.schedule, Schedule) and self.end_lr:
            raise ValueError("optim.end_lr has no use with a schedule of factors; leave it 0.")
        if self.scale_lr not in ("linear", "sqrt", None):
            raise ValueError(f"optim.scale_lr: {self.scale_lr!r} is not linear, sqrt or null.")

    def _check_ranges(self) -> None:
        for name in ("end_lr", "warmup_epochs", "warmup_lr", "momentum", "head_lr"):
            _not_negative(f"optim.{name}", getattr(self, name))
        if not isinstance(self.weight_decay, Schedule):
            _not_negative("optim.weight_decay", self.weight_decay)
        if not self.base_batch_size >= 1:
            raise ValueError(
                f"optim.base_batch_size must be at least 1, got {self.base_batch_size}."
            )
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            raise ValueError(f"optim.layer_decay must lie in (0, 1], got {self.layer_decay}.")
        if self.head_lr is not None and not self.lr:
            raise ValueError(
                "optim.head_lr is kept as a multiple of lr, so lr must not be 0. To train the head "
                "alone, freeze the backbone."
            )

    def _check_optimizer(self) -> None:
        if self.larc and self.optimizer not in ("sgd", "SGD", "larc"):
            raise ValueError(
                f"optim.larc works around sgd, not {self.optimizer!r}. Set optimizer: sgd."
            )
        chosen = self.optimizer_class
        if self.momentum is not None and not takes(chosen, "momentum"):
            raise ValueError(f"optim.momentum: {chosen.__name__} has none; leave it null.")
        if self.weight_decay != 0 and not takes(chosen, "weight_decay"):
            raise ValueError(f"optim.weight_decay: {chosen.__name__} has none; set it to 0.")
        exempt = self.options.get("exclude_1d", True)
        if chosen.__name__ == "LARS" and exempt and (self.decay_bias or self.decay_norm):
            raise ValueError(
                "optim: lars leaves biases and norms undecayed by itself; decay_bias and "
                "decay_norm need options: {exclude_1d: false}."
            )
        self._check_options(chosen)

    def _check_options(self, chosen: type[Optimizer]) -> None:
        allowed = option_names(chosen)
        for name in self.options if allowed is not None else ():
            if name in ("lr", "weight_decay", "momentum", "params"):
                raise ValueError(f"optim.options.{name}: write optim.{name} instead.")
            if name not in (allowed or ()):
                raise ValueError(
                    f"optim.options: {chosen.__name__} has no argument {name!r}."
                    f"{did_you_mean(name, allowed)} It takes: {', '.join(allowed or ())}."
                )
        # Only with options: making an optimizer imports torch._dynamo, which takes seconds.
        if self.options and chosen.__module__.startswith(("torch.", "sslight.")):
            self._try(chosen)

    def _try(self, chosen: type[Optimizer]) -> None:
        """Build the optimizer once around a dummy, so that its own checks speak now."""
        arguments = {
            name: value
            for name, value in self.optimizer_arguments().items()
            if name not in ("fused", "foreach", "capturable")  # these depend on the device
        }
        try:
            chosen([torch.zeros(1, 1, requires_grad=True)], lr=0.1, **arguments)  # type: ignore[call-arg]
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"optim: {chosen.__name__} refuses {arguments}: {error}") from error


def _not_negative(where: str, value: float | None) -> None:
    if value is not None and not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{where} must be a finite number of at least 0, got {value!r}.")


def _tupled(options: Mapping[str, Any]) -> dict[str, Any]:
    """Lists from a YAML (betas) as the tuples that optimizers expect."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in options.items()}
