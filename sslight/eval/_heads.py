"""Many linear classifiers on the same features, trained at once: one pass serves a whole grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslight.eval._rows import blocks

_MOMENTUM = 0.9


@dataclass
class Heads:
    """G linear classifiers of K outputs each.

    Attributes:
        weight: ``[G, K, D]``.
        bias: ``[G, K]``.
        mean: ``[D]``, subtracted from features.
        scale: ``[D]``, divides them.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    scale: Tensor

    def __call__(self, features: np.ndarray | Tensor) -> Tensor:
        """Compute logits ``[B, G, K]`` of features ``[B, D]``."""
        groups, outputs, width = self.weight.shape
        x = self.prepared(features)
        logits = x @ self.weight.view(groups * outputs, width).T
        return logits.view(len(x), groups, outputs) + self.bias

    def prepared(self, features: np.ndarray | Tensor) -> Tensor:
        """Return features on the heads' device, standardised, with squared norm 1 on average."""
        x = torch.as_tensor(features).to(self.mean.device, torch.float32)
        return (x - self.mean) / self.scale


@dataclass(frozen=True)
class Settings:
    """How heads are trained: SGD with momentum 0.9 and a cosine to 0 over ``epochs``.

    Attributes:
        lr: ``[G]``, peak learning rate of each head.
        weight_decay: ``[G]``, L2 on the weights, not on biases.
        epochs: Passes over the rows.
        batch_size: Rows per step.
        seed: Of the order.
    """

    lr: Tensor
    weight_decay: Tensor
    epochs: int
    batch_size: int
    seed: int


def fit_heads(
    features: Any,
    targets: Tensor,
    rows: np.ndarray,
    settings: Settings,
    device: torch.device | str = "cpu",
) -> Heads:
    """Train G heads on some rows of ``features``, which are read once per epoch for all of them.

    Losses are softmax cross-entropy for targets ``[N]``, and the mean over classes of binary
    cross-entropy for ``[N, K]`` in {1, 0, -1 ignored}. Both gradients are written out: two matrix
    products a step for the whole grid.

    Args:
        features: ``[N, D]``, sliced by sorted rows (a memory map will do).
        targets: ``[N]`` class ids, or ``[N, K]``.
        rows: The rows to train on.
        settings: The grid and its schedule.
        device: Where to compute.
    """
    heads = _blank(features, targets, rows, len(settings.lr), device)
    speed = [torch.zeros_like(heads.weight), torch.zeros_like(heads.bias)]
    lr, decay = (x.to(device, torch.float32) for x in (settings.lr, settings.weight_decay))
    draw = np.random.default_rng(settings.seed)
    steps = max(1, math.ceil(len(rows) / settings.batch_size))
    for step in range(settings.epochs * steps):
        if step % steps == 0:
            order = draw.permutation(rows)
        part = np.sort(order[step % steps :: steps])
        x = heads.prepared(features[part])
        error = _error(heads, x, targets[part].to(device))  # [B, G, K]
        now = lr * (1 + math.cos(math.pi * step / (settings.epochs * steps))) / 2
        gradient = torch.einsum("bgk,bd->gkd", error, x) + decay[:, None, None] * heads.weight
        for value, velocity, grad in zip(
            (heads.weight, heads.bias), speed, (gradient, error.sum(0)), strict=True
        ):
            velocity.mul_(_MOMENTUM).add_(grad)
            value -= now.view(-1, *[1] * (value.ndim - 1)) * velocity
    return heads


def _blank(
    features: Any, targets: Tensor, rows: np.ndarray, groups: int, device: torch.device | str
) -> Heads:
    """Zero heads with the statistics of the rows."""
    mean, scale = moments(features, rows)
    outputs = targets.shape[1] if targets.ndim == 2 else int(targets.max()) + 1
    return Heads(
        torch.zeros(groups, outputs, len(mean), device=device),
        torch.zeros(groups, outputs, device=device),
        mean.to(device, torch.float32),
        scale.to(device, torch.float32),
    )


def moments(features: Any, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Compute what standardises ``[n, D]`` so that rows have squared norm 1 on average.

    Returns:
        The mean ``[D]`` to subtract and the scale ``[D]`` to divide by, float64.
    """
    total, square = (torch.zeros(features.shape[1], dtype=torch.float64) for _ in range(2))
    for x in blocks(features, np.sort(rows)):
        total += x.double().sum(0)
        square += x.double().square().sum(0)
    mean = total / len(rows)
    std = (square / len(rows) - mean.square()).clamp_min(0).sqrt()
    return mean, torch.where(std > 1e-6 * std.max(), std, 1.0) * math.sqrt(len(mean))


def _error(heads: Heads, x: Tensor, targets: Tensor) -> Tensor:
    """The loss's derivative by the logits, ``[B, G, K]``."""
    groups, outputs, width = heads.weight.shape
    logits = (x @ heads.weight.view(-1, width).T).view(len(x), groups, outputs) + heads.bias
    if targets.ndim == 2:
        known = (targets >= 0).float()[:, None]
        return (logits.sigmoid() - targets[:, None]) * known / (len(x) * outputs)
    error = logits.softmax(dim=2)
    place = targets[:, None, None].expand(-1, groups, 1)
    return error.scatter_add_(2, place, -torch.ones_like(place, dtype=error.dtype)) / len(x)
