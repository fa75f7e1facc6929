"""What protocols that train through images ask for: a fit of ``supervised`` on the backbone."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sslight.augment.spec import ViewSpec
from sslight.errors import RefusedRunError
from sslight.eval._statistics import interval
from sslight.eval.base import Result, Subject
from sslight.optim import Recipe
from sslight.schedules import MultiStep


@dataclass(frozen=True)
class Training:
    """A fit of ``supervised``; everything that decides its result, but the weights and images.

    Attributes:
        method: Arguments of :class:`sslight.methods.supervised.Supervised`.
        optim: The recipe.
        epochs: Passes over the images.
        batch_size: Images per step, over all devices.
        views: What is cut from a training image, and from a test image.
        train: The split to train on.
        test: The split to measure on.
        rows: Rows of the train split, or None for all.
        seed: Of order, crops and new weights.
    """

    method: dict[str, Any]
    optim: Recipe
    epochs: int
    batch_size: int
    views: tuple[ViewSpec, ViewSpec]
    train: str = "train"
    test: str = "test"
    rows: np.ndarray | None = field(default=None, repr=False)
    seed: int = 0


@dataclass(frozen=True)
class Trained:
    """How a training ended: metrics on the test split, such as ``top1``, and the run's folder."""

    metrics: dict[str, float]
    folder: Path


def stepped(lr: float, milestones: list[float], weight_decay: float, **more: Any) -> Recipe:
    """SGD as VISSL evaluates: ``lr`` for 256 images, a tenth from each milestone (epochs) on."""
    factors = tuple(0.1**i for i in range(len(milestones) + 1))
    return Recipe(
        optimizer="sgd",
        lr=lr,
        scale_lr="linear",
        schedule=MultiStep(values=factors, milestones=tuple(milestones)) if milestones
        else "constant",
        weight_decay=weight_decay,
        options={"nesterov": True},
        **more,
    )  # fmt: skip


def views(
    subject: Subject, image_size: int | None, scale: tuple[float, float]
) -> tuple[ViewSpec, ViewSpec]:
    """Return a random crop with a flip to train on, and the clean view, as the backbone wants."""
    clean = subject.clean_view
    if image_size is not None and image_size != clean.size:
        clean = dataclasses.replace(clean, size=image_size, resize=None)
    low, high = scale
    crop = dataclasses.replace(clean, crop="random", scale=(low, high), resize=None, flip=0.5)
    return crop, clean


def known_labels(subject: Subject, split: str, protocol: str) -> np.ndarray:
    """Return the labels of a split's images; an error where no image has one."""
    labels = subject.source(split).labels
    if labels is None or not (np.asarray(labels) >= 0).any():
        raise RefusedRunError(
            f"{protocol}: the images of the split {split!r} have no labels, and it learns from "
            "them. Use a source with labels, such as a folder per class."
        )
    return np.asarray(labels)


def num_known(labels: np.ndarray) -> int:
    """Count the images with a label."""
    known = labels >= 0
    return int((known if labels.ndim == 1 else known.any(axis=1)).sum())


def check_split(protocol: str, train: str, test: str, epochs: int, batch_size: int) -> None:
    """Refuse numbers with which nothing is trained, and a test on the training images."""
    if epochs < 1 or batch_size < 1:
        raise ValueError(
            f"{protocol}: got epochs={epochs} and batch_size={batch_size}; both count from 1."
        )
    if train == test:
        raise ValueError(
            f"{protocol}: train and test are both {train!r}; nothing would be held out."
        )


def fitting_batch(batch_size: int, num_images: int) -> int:
    """Return the batch size, or the largest power of two of so few images.

    A power of two serves any usual number of ranks, so that the figures do not depend on it.
    """
    return batch_size if num_images >= batch_size else 1 << (num_images.bit_length() - 1)


def with_intervals(result: Result) -> Result:
    """Add Wilson's interval to every accuracy of a result."""
    shares = {k: v for k, v in result.metrics.items() if k.endswith(("top1", "top5"))}
    found = {name: interval(share, result.n) for name, share in shares.items()}
    return dataclasses.replace(result, intervals={**found, **result.intervals})
