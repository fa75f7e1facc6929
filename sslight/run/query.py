"""``sslight query``: images, or features, to the stored images most like them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sslight.backbones import builder
from sslight.backbones.layers import EMBEDDING
from sslight.checkpoints import LoadedBackbone, init_backbone, load_backbone, weights_digest
from sslight.checkpoints.images import Images
from sslight.checkpoints.record import view_of
from sslight.errors import RefusedRunError, refusing
from sslight.features import FeatureStore, Split, load_features
from sslight.features.query import Index, Neighbours, search
from sslight.run.extract import has_weights
from sslight.run.network import Source, open_network


def query(
    features: str | Path | FeatureStore | Split,
    images: Images | np.ndarray,
    k: int = 10,
    *,
    splits: Sequence[str] | None = None,
    layer: str | None = None,
    index: Index = "exact",
    backbone: Source | None = None,
    init: str | Path | None = None,
    trust: Sequence[str] = (),
    batch_size: int = 64,
) -> Neighbours:
    """Find the stored images most like given ones: ``query("runs/x", "cat.jpg", k=5)[0]``.

    Similarity is the cosine of the features. Images go through the backbone and the view that made
    the store.

    Args:
        features: A feature store, its folder, a run's folder, or one split of a store.
        images: Paths, PIL images or uint8 tensors ``[C, H, W]`` (one or a list); or features, as a
            float array or tensor ``[D]`` or ``[Q, D]``.
        k: Matches per query.
        splits: Where to search; None for every split of the store.
        layer: Stored layer; None for the first.
        index: ``exact`` needs nothing and little memory; ``faiss`` holds all features in memory.
        backbone: Run, config, file, name or module that made the features, where the store does not
            tell.
        init: Weights for a backbone's name.
        trust: Packages whose classes a config may name.
        batch_size: Images per forward.

    Raises:
        RefusedRunError: The backbone cannot be found again, or is not the one of the store.
    """
    with refusing():
        opened = _splits(features, splits)
        if _are_features(images):
            asked, names = _as_features(images)
        else:
            store = load_features(opened[0].folder.parent, partial=True)
            loaded = _network(store, backbone, init, trust)
            asked = _embed(store, loaded, images, layer or opened[0].layers[0], batch_size)
            names = _names(images)
        return search(opened, asked, names, k, layer=layer, index=index, device=_device())


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _splits(
    features: str | Path | FeatureStore | Split, names: Sequence[str] | None
) -> list[Split]:
    if isinstance(features, Split):
        return [features]
    store = features if isinstance(features, FeatureStore) else load_features(features)
    with refusing(KeyError):
        return [store[name] for name in (names or list(store))]


# -------------------------------------------------------------------- what is asked for


def _are_features(images: Any) -> bool:
    if isinstance(images, np.ndarray):
        return True
    return isinstance(images, Tensor) and images.dtype != torch.uint8


def _as_features(array: Any) -> tuple[Tensor, list[str]]:
    tensor = torch.as_tensor(np.array(array) if isinstance(array, np.ndarray) else array)
    if not tensor.is_floating_point():
        raise RefusedRunError(
            f"query: features are floats [D] or [Q, D], got {tensor.dtype} {list(tensor.shape)}. "
            "Images are paths, PIL images or uint8 tensors [C, H, W]."
        )
    rows = tensor.detach().cpu().float().reshape(-1, tensor.shape[-1] if tensor.ndim else 1)
    return rows, [f"row {i}" for i in range(len(rows))]


def _names(images: Any) -> list[str]:
    if isinstance(images, Tensor) and images.ndim == 4:
        return [f"image {i}" for i in range(len(images))]
    many = [images] if isinstance(images, str | Tensor | Path) else images
    many = list(many) if isinstance(many, Sequence) else [many]
    return [str(x) if isinstance(x, str | Path) else f"image {i}" for i, x in enumerate(many)]


def _embed(
    store: FeatureStore, loaded: LoadedBackbone, images: Images, layer: str, batch_size: int
) -> Tensor:
    """Features of new images, made as those of the stored layer were."""
    if layer not in store.manifest.layers:
        raise RefusedRunError(
            f"query: {store.root} has no layer {layer!r}; it has {', '.join(store.layers)}."
        )
    entry = store.manifest.layers[layer]
    made: dict[str, Tensor] = loaded.to(_device()).embed(
        images, batch_size=batch_size, layers={entry.path or EMBEDDING: entry.pooling}
    )
    return next(iter(made.values())).flatten(1)


# -------------------------------------------------------------------- the backbone of a store


def _network(
    store: FeatureStore,
    backbone: Source | None,
    init: str | Path | None,
    trust: Sequence[str],
) -> LoadedBackbone:
    """The backbone that made the store, with the store's view."""
    if backbone is not None:
        weights = None if isinstance(backbone, nn.Module) else store.manifest.weights.get("which")
        found = open_network(backbone, weights=weights, init=init, trust=trust).loaded
    else:
        found = _remembered(store, trust)
    here, there = weights_digest(found.backbone.state_dict()), store.manifest.weights["sha256"]
    if here != there:
        raise RefusedRunError(
            f"query: {found.source or 'the backbone'} has other weights (sha256 {here[:12]}) than "
            f"those that made {store.root} ({there[:12]}), so its features cannot be compared. "
            "Extract again (`sslight extract`), or name the right ones with --backbone or --config."
        )
    return LoadedBackbone(
        found.backbone, view_of(store.manifest.view), source=found.source, meta=found.meta
    )


def _remembered(store: FeatureStore, trust: Sequence[str]) -> LoadedBackbone:
    """Find the backbone by what the store's manifest tells, and by the run that it lies in."""
    source = str(store.manifest.meta.get("source") or "")
    for place in (store.root.parent, Path(source or "-")):
        if place.is_file() or (place.is_dir() and has_weights(place)):
            which = store.manifest.weights.get("which")
            return open_network(place, weights=which, trust=trust).loaded
    network = _by_name(store)
    if network is None:
        raise RefusedRunError(
            f"query: {store.root} was made by {source or 'a backbone that it does not name'}, "
            "which is not found here. Name it: --config RUN, or --backbone with a file of weights "
            "or a name (and --init WEIGHTS); in Python backbone=..., init=..."
        )
    return network


def _by_name(store: FeatureStore) -> LoadedBackbone | None:
    """Build the backbone that the manifest names, if its weights are known or it has none."""
    told = store.manifest.backbone
    init = store.manifest.meta.get("init")
    if not isinstance(told, dict):
        return None
    arguments = {key: value for key, value in told.items() if key != "name"}
    network = builder(told["name"])(**arguments)
    if init:
        init_backbone(network, init)
    elif any(True for _ in network.parameters()):
        return None
    return load_backbone(network)
