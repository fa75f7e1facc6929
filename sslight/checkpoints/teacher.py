"""Trained networks as teachers: backbones, classifiers, and networks with their prototypes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sslight.checkpoints.formats import read_pickle
from sslight.checkpoints.load import load_backbone, newest_checkpoint
from sslight.checkpoints.loaded import LoadedBackbone
from sslight.errors import RefusedRunError, refusing
from sslight.modules.distillation import Gives

#: Where methods with a linear classifier on the backbone keep it.
_HEADS = ("head.", "objective.head.")


def load_teacher(source: str | Path, gives: Gives = "embeddings") -> LoadedBackbone:
    """Load a network for a run that learns from it.

    Raises:
        RefusedRunError: It cannot be loaded; the message says why.
    """
    try:
        with refusing():
            loaders = {"classes": load_classifier, "prototypes": load_prototypes}
            return loaders.get(gives, load_backbone)(source)
    except RefusedRunError as error:
        raise RefusedRunError(
            f"The teacher {str(source)!r} could not be loaded. (A run that goes on needs it too: "
            f"the weights are in its checkpoint, the network is not.) {error}"
        ) from error


def check_scale(view: Any, spec: Any) -> None:
    """Refuse a training view that scales pixels in another way than the teacher's view.

    Args:
        view: The spec of the view that the teacher was evaluated with, or None.
        spec: The spec of a view that it is to see.
    """
    if view is not None and (view.mean, view.std) != (spec.mean, spec.std):
        raise RefusedRunError(
            f"The teacher takes images with mean {view.mean} and std {view.std}, the views have "
            f"{spec.mean} and {spec.std}. Write the teacher's into data.views."
        )


def check_classes(known: int, num_classes: int | None) -> None:
    """Refuse labels that a teacher of ``known`` classes has no output for."""
    if known < (num_classes or 0):
        raise RefusedRunError(
            f"The data has {num_classes} classes, the teacher tells {known} apart. Give the data "
            "that it was trained on, or set alpha: 1 to leave the labels out."
        )


def load_classifier(source: str | Path) -> LoadedBackbone:
    """Load a network from images to logits ``[B, K]``; K is its ``embed_dim``.

    Args:
        source: A run folder, whose newest checkpoint is taken, or a checkpoint (``.ckpt``), of a
            method with a linear classifier on its backbone: ``supervised``, or ``distill`` of kind
            ``soft``.

    Raises:
        FileNotFoundError: There is no such file, or no checkpoint in the folder.
        ValueError: The file holds no linear classifier.
    """
    path = Path(source).expanduser()
    path = newest_checkpoint(path) if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"There is no run folder or checkpoint {path}.")
    head = _linear(read_pickle(path)["state_dict"]) if path.suffix == ".ckpt" else None
    if head is None:
        raise ValueError(
            f"{path} holds no linear classifier. Give the folder, or a checkpoints/*.ckpt, of a "
            "run of method: {name: supervised}."
        )
    loaded = load_backbone(path)
    network = nn.Sequential(loaded.backbone, head)
    network.embed_dim = head.out_features  # type: ignore[assignment]
    return LoadedBackbone(network, loaded.view, source=str(path), meta=loaded.meta)


def load_prototypes(source: str | Path) -> LoadedBackbone:
    """Load a network from images to scores ``[B, K]`` of its prototypes; K is its ``embed_dim``.

    Args:
        source: The folder of a run whose method has prototypes (a ``prototype_head``); its config
            is read and its data opened, for some methods are built for them.

    Raises:
        FileNotFoundError: There is no such folder, or no checkpoint in it.
        ValueError: The method has no prototypes.
    """
    from sslight import load_method  # its walk builds from a config, which this half may not

    if not Path(source).expanduser().is_dir():
        raise FileNotFoundError(f"{source} is no run folder, and prototypes need a whole run.")
    loaded = load_backbone(source)
    with torch.random.fork_rng(devices=[]):  # building draws from the other run's seed
        method = load_method(Path(source).expanduser()).eval()
    head = getattr(method, "prototype_head", None)
    if not isinstance(head, nn.Module):
        raise ValueError(
            f"{type(method).__name__} has no prototypes; give a run of swav, deepcluster_v2, dino, "
            "ibot, dinov2 or msn."
        )
    network = nn.Sequential(method.eval_backbone, head)
    with torch.no_grad():
        scores = head(torch.zeros(1, loaded.embed_dim))
    network.embed_dim = scores.shape[1]
    return LoadedBackbone(network, loaded.view, source=str(source), meta=loaded.meta)


def _linear(state: Mapping[str, Tensor]) -> nn.Linear | None:
    for prefix in _HEADS:
        if f"{prefix}weight" in state and f"{prefix}bias" in state:
            classes, width = state[f"{prefix}weight"].shape
            head = nn.Linear(width, classes)
            head.load_state_dict({key: state[prefix + key] for key in ("weight", "bias")})
            return head
    return None
