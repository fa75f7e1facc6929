"""``sslight check``: what a config would do, without reading a pixel."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sslight import config as configs
from sslight.data.sampler import check_batch_size
from sslight.errors import RefusedRunError, refusing
from sslight.optim import Recipe
from sslight.run import assemble
from sslight.schedules import Clock, as_schedule

#: float32 parameter, gradient and one or two optimizer tensors.
_BYTES_PER_PARAMETER = {"adam": 16, "adamw": 16, "sgd": 12, "lars": 12}


@dataclass(frozen=True)
class Plan:
    """What a run would be: label and value, in the order of the walk."""

    lines: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        width = max(len(label) for label, _ in self.lines)
        return "\n".join(f"{label:<{width}}  {value}" for label, value in self.lines)


def plan(
    config: str | os.PathLike[str] | Mapping[str, Any],
    overrides: Iterable[str] = (),
    *,
    trust: Sequence[str] = (),
) -> Plan:
    """Say what ``fit`` would do: the index is opened, the model stays on the meta device."""
    composed = configs.compose(config, overrides)
    return plan_of(configs.checked(composed, "fit", trust), composed.name, trust)


def plan_of(checked: Mapping[str, Any], name: str, trust: Sequence[str]) -> Plan:
    """Return the plan of a checked config; ``name`` is the config's."""
    with torch.device("meta"):
        method = assemble.build_method(checked, trust)
    data = assemble.build_data(checked, trust)
    lines = [("run folder", str(assemble.run_folder(checked, name)))]
    lines += _data_lines(data)
    lines += _model_lines(method, checked)
    if "train" in data.split_names:
        lines += _length_lines(method, data, checked.get("trainer") or {})
    return Plan(tuple(lines))


def first_clock(data: Any, trainer: Mapping[str, Any]) -> Clock:
    """Return the clock of a run's first step: steps in all and per epoch."""
    per_epoch = data.num_images("train") // data.batch_size
    epochs, steps = trainer.get("max_epochs"), int(trainer.get("max_steps") or -1)
    if epochs is None:
        epochs = -1 if steps > 0 else 1000  # Lightning's default
    bounds = [steps] if steps > 0 else []
    bounds += [per_epoch * int(epochs)] if int(epochs) >= 0 else []
    if not bounds:
        raise RefusedRunError(
            "trainer.max_epochs is -1 and trainer.max_steps is not set, so training has no end and "
            "schedules have no length. Give one of them; trainer.max_time may stop it earlier."
        )
    return Clock(step=0, total=min(bounds), per_epoch=per_epoch)


def check_schedules(recipe: Recipe, batch_size: int, clock: Clock) -> None:
    """Refuse schedules that do not fit into the training, such as a warmup longer than it."""
    with refusing(ValueError):
        if clock.total > 0:
            recipe.scaled_lr(batch_size)(clock)
            as_schedule(recipe.weight_decay)(clock)


def count_ranks(trainer: Mapping[str, Any]) -> int:
    """Return the number of devices that the ``trainer`` node asks for, over all nodes."""
    devices = trainer.get("devices", "auto")
    if isinstance(devices, list):
        count = len(devices)
    elif str(devices).isdigit():
        count = int(devices)
    else:  # auto, -1: every GPU there is, or the one CPU
        wants_cpu = trainer.get("accelerator", "auto") == "cpu"
        count = 1 if wants_cpu else max(torch.cuda.device_count(), 1)
    return count * int(trainer.get("num_nodes", 1))


def _data_lines(data: Any) -> list[tuple[str, str]]:
    lines = []
    for split in data.split_names:
        source = data.source(split)
        labels = "no labels" if source.labels is None else f"{len(source.classes or [])} classes"
        lines.append((f"data.{split}", f"{len(source):,} images, {labels}"))
    views = ", ".join(f"{spec.count} x {spec.size} px" for spec in data.maker.specs)
    return [*lines, ("views", views)]


def _model_lines(method: Any, checked: Mapping[str, Any]) -> list[tuple[str, str]]:
    total = sum(p.numel() for p in method.parameters())
    trainable = sum(p.numel() for p in method.parameters() if p.requires_grad)
    backbone = sum(p.numel() for p in method.backbone.parameters())
    optimizer = str(method.recipe.optimizer).lower()
    memory = trainable * _BYTES_PER_PARAMETER.get(optimizer, 16) + (total - trainable) * 4
    name = f"{checked['method']['name']} on {checked['backbone']['name']}"
    return [
        ("method", name),
        ("parameters", f"{total / 1e6:.1f} M, {trainable / 1e6:.1f} M trained, "
                       f"{backbone / 1e6:.1f} M of the backbone"),
        ("embedding", f"{method.backbone.embed_dim} wide"),
        ("weights in memory", f"{memory / 2**20:.0f} MiB with gradients and optimizer state, "
                              "activations not counted"),
    ]  # fmt: skip


def _length_lines(method: Any, data: Any, trainer: Mapping[str, Any]) -> list[tuple[str, str]]:
    accumulate = int(trainer.get("accumulate_grad_batches", 1))
    ranks = count_ranks(trainer)
    check_batch_size(data.num_images("train"), data.batch_size, ranks, accumulate)
    clock = first_clock(data, trainer)
    check_schedules(method.recipe, data.batch_size, clock)
    micro = data.batch_size // (ranks * accumulate)
    devices = "1 device" if ranks == 1 else f"{ranks} devices"
    return [
        ("batch", f"{data.batch_size} images a step = {devices} x {accumulate} x {micro}"),
        ("length", f"{clock.per_epoch} steps an epoch, {clock.total} steps in all"),
        ("learning rate", method.recipe.describe_lr(data.batch_size)),
    ]
