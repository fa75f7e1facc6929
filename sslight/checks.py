"""What a method refuses: batches, backbones and data that do not fit it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from sslight.errors import RefusedRunError


def check_batch(method: str, batch: Mapping[str, Any], needs: Sequence[str], views: str) -> None:
    """Raise if a batch lacks keys that a method reads."""
    missing = [key for key in needs if key not in batch]
    if missing:
        raise ValueError(
            f"{method} needs {missing} in each batch, which holds {sorted(batch)}. Use "
            f"data.views: {{name: {views}}}, or a dataset that yields them."
        )


def check_labels(method: str, label: Tensor, multi_label: bool) -> None:
    """Raise if labels are of the other kind than a method was told."""
    if label.ndim != (2 if multi_label else 1):
        raise RefusedRunError(
            f"{method}: labels are {tuple(label.shape)}, but multi_label is {multi_label}. "
            "Labels [B] go with multi_label: false, labels [B, K] with multi_label: true."
        )


def check_tokens(method: str, backbone: nn.Module, needed: bool) -> None:
    """Raise if a method reads patch tokens and its backbone has none."""
    if needed and not hasattr(backbone, "tokens"):
        raise RefusedRunError(
            f"{method} reads patch tokens, which {type(backbone).__name__} does not have. Use a "
            "vision transformer, such as backbone: {name: vit_s_16}; `sslight list backbones` "
            "shows them all."
        )


def check_memory(method: str, rows: int | None, num_images: int | None) -> None:
    """Raise if a memory with a row per image cannot be made, or was made for other data.

    Args:
        method: Its name in a config.
        rows: Rows of the memory; None if it is still to be made.
        num_images: Images of the training data, where they are known.
    """
    if rows is None and num_images is None:
        raise RefusedRunError(
            f"{method}: the number of training images is unknown, and the memory has a row for "
            "each. Use an SSLDataModule, or set method.num_images."
        )
    if rows is not None and num_images not in (None, rows):
        raise RefusedRunError(
            f"{method}: the memory has {rows} rows, but the training data has {num_images} images. "
            f"Leave num_images out, or make it {num_images}."
        )


def check_same_images(method: str, kept: str, rows: int, num_images: int) -> None:
    """Raise if what a method keeps of each image was made for other images.

    Args:
        method: Its name in a config.
        kept: What is there, in words.
        rows: Of how many images.
        num_images: Images of the training data.
    """
    if rows != num_images:
        raise RefusedRunError(
            f"{method}: {kept}, but there are {num_images} training images. Train on the same "
            "images, or build a new method."
        )


def enough_images(method: str, num_clusters: int, num_images: int | None) -> int:
    """Return the number of training images; raise if it is unknown, or smaller than K."""
    if num_images is None:
        raise RefusedRunError(
            f"{method}: the number of training images is unknown, and each of them has a cluster. "
            "Train with an SSLDataModule that has a train split."
        )
    if num_clusters > num_images:
        raise RefusedRunError(
            f"{method}: num_clusters is {num_clusters}, but there are {num_images} training "
            f"images. Set method.num_clusters to {num_images} or less."
        )
    return num_images


def check_classes(method: str, known: int | None, num_classes: int | None) -> None:
    """Raise if a classifier cannot be made, or was made for fewer classes than the data has.

    Args:
        method: Its name in a config.
        known: Classes that it tells apart; None if it is still to be made.
        num_classes: Classes of the training data, where it has labels.
    """
    if known is None and num_classes is None:
        raise RefusedRunError(
            f"{method}: the training data has no labels, so the number of classes is unknown. "
            "Use a source with labels, or set method.num_classes."
        )
    if known is not None and num_classes is not None and num_classes > known:
        raise RefusedRunError(
            f"{method}: num_classes is {known}, but the training data has {num_classes} classes. "
            f"Leave num_classes out, or make it {num_classes}."
        )
