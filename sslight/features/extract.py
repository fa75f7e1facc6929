"""Extraction: every image of the splits asked for, into a feature store."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from sslight import distributed
from sslight.backbones.layers import LayerReader
from sslight.backbones.spec import spec_of
from sslight.checkpoints.loaded import LoadedBackbone
from sslight.checkpoints.record import view_fields, weights_digest
from sslight.errors import RefusedRunError
from sslight.features.compute import FeatureBlock, iterate
from sslight.features.manifest import LayerEntry, Manifest, SplitEntry
from sslight.features.store import FeatureStore, load_features
from sslight.features.writer import SplitWriter, StoreWriter, merge_shards, shards_in
from sslight.heap import keep_freed_memory

logger = logging.getLogger("sslight")
Progress = Callable[[str, int, int], None]


@dataclass
class ExtractOptions:
    """What `sslight extract` makes of a run.

    Attributes:
        splits: Names of splits; all of them by default.
        layers: ``{name: pooling}``, or names such as ``res4`` or ``res5:max``; default the output.
        out: Folder of the store; default ``features`` in the run folder.
        dtype: Type of the stored numbers.
        weights: ``main`` is what the method evaluates, ``ema`` the average of ``ema_weights``,
            ``student`` the trained network where that is another one.
        batch_size: Images per forward; default the datamodule's.
        checkpoint: Take the backbone from this file instead of the run.
        shared: False where the ranks do not see one file system: each writes a shard.
        flush_rows: Rows between two flushes to disk, the most that a power cut costs.
    """

    splits: list[str] | None = None
    layers: dict[str, str] | list[str] | None = None
    out: Path | None = None
    dtype: Literal["float32", "float16"] = "float32"
    weights: Literal["main", "ema", "student"] = "main"
    batch_size: int | None = None
    checkpoint: Path | None = None
    shared: bool = True
    flush_rows: int = 4096

    def __post_init__(self) -> None:
        """Refuse sizes that give no batch."""
        for name in ("batch_size", "flush_rows"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; give a number from 1.")


def extract_features(
    backbone: nn.Module,
    datamodule: Any,
    options: ExtractOptions | None = None,
    out: str | Path | None = None,
    *,
    rank: int | None = None,
    world_size: int | None = None,
    device: torch.device | str = "cpu",
    meta: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> FeatureStore | None:
    """Extract features into ``out``; rows that are there already are not computed again.

    Every rank calls this with its own ``rank`` (default: that of the process group, else 0 of 1).

    Args:
        backbone: On ``device``.
        datamodule: With ``split_names``, ``source``, ``labels``, ``ids``, ``num_images``,
            ``clean_view``, ``eval_loader`` and ``finish``.
        options: See :class:`ExtractOptions`.
        out: Folder of the store; default ``options.out``.
        rank: This process.
        world_size: All processes.
        device: Where to compute.
        meta: Plain values kept in the manifest (run, config, step, ...).
        progress: Called with split, rows done by this rank, rows of this rank.

    Returns:
        The store; ``None`` where this machine has only its shard (``shared=False``).

    Raises:
        ValueError: ``out`` holds features of other weights, layers, views or data.
    """
    options = options or ExtractOptions()
    folder = out or options.out
    if folder is None:
        raise ValueError("extract_features: give the folder of the store (`extract.out`).")
    if isinstance(backbone, LoadedBackbone):
        backbone = backbone.backbone
    writer = StoreWriter(
        Path(folder),
        _manifest(backbone, datamodule, options, meta),
        rank=distributed.rank() if rank is None else rank,
        world_size=distributed.world_size() if world_size is None else world_size,
        shared=options.shared,
        flush_rows=options.flush_rows,
    )
    splits = options.splits if options.splits is not None else datamodule.split_names
    with keep_freed_memory(device):
        for split in splits:
            _extract_split(writer, backbone, datamodule, split, options, device, progress)
    return _finish(writer)


def is_extracted(
    backbone: nn.Module, datamodule: Any, options: ExtractOptions, out: str | Path
) -> bool:
    """Whether ``out`` holds all rows of ``options.splits``, made of this backbone and these images.

    Without ``options.layers``, whatever layers are there will do.

    Raises:
        RefusedRunError: ``out`` holds features of other weights, layers, views or images.
    """
    found = Manifest.read(Path(out))
    if found is None:
        return False
    asked = _manifest(backbone, datamodule, options, None)
    if options.layers is None:
        asked.layers = found.layers
    store = StoreWriter(Path(out), asked)
    splits = options.splits if options.splits is not None else datamodule.split_names
    return all(
        split in found.splits and not store.missing(split, _entry(datamodule, split))
        for split in splits
    )


def _finish(writer: StoreWriter) -> FeatureStore | None:
    if distributed.is_distributed():
        torch.distributed.barrier()
    if writer.shared:
        return load_features(writer.root, partial=True)
    if writer.rank == 0:
        found = shards_in(writer.root).get(writer.world_size, {})
        if distributed.is_distributed() and len(found) == writer.world_size:
            merge_shards(writer.root)
            return load_features(writer.root)
        logger.info(
            "%s: gather the shards of all machines in one folder, then call "
            "sslight.features.writer.merge_shards on it.", writer.root,
        )  # fmt: skip
    return None


def _manifest(
    backbone: nn.Module, datamodule: Any, options: ExtractOptions, meta: Mapping[str, Any] | None
) -> Manifest:
    spec = spec_of(backbone)
    rebuild = spec.rebuildable() if spec else None
    layers = {
        layer.name: LayerEntry((), np.dtype(options.dtype).str, layer.path, layer.pooling)
        for layer in LayerReader(backbone, options.layers).layers
    }
    return Manifest(
        backbone={"name": rebuild.name, **rebuild.kwargs} if rebuild else _class_name(backbone),
        weights={"sha256": weights_digest(backbone.state_dict()), "which": options.weights},
        view=view_fields(datamodule.clean_view()),
        layers=layers,
        meta=dict(meta or {}),
        decode=getattr(datamodule, "decode", "exact"),
    )


def _class_name(backbone: nn.Module) -> str:
    return f"{type(backbone).__module__}.{type(backbone).__qualname__}"


def _extract_split(
    writer: StoreWriter,
    backbone: nn.Module,
    datamodule: Any,
    split: str,
    options: ExtractOptions,
    device: torch.device | str,
    progress: Progress | None,
) -> None:
    entry = _entry(datamodule, split)
    missing = writer.missing(split, entry)
    total = len(missing.own)
    done = total - len(missing)
    if done:
        logger.info("%s: %d of %d rows are there already.", split, done, total)
    size = options.batch_size or _batch_size(datamodule)
    chunks = missing.chunks(size)
    blocks = iterate(
        backbone, datamodule, split, device, options.layers, rows=chunks, batch_size=size
    )
    with contextlib.ExitStack() as stack:
        out: SplitWriter | None = None
        for block in blocks:
            if out is None:
                layers = _with_shapes(writer.asked.layers, block)
                labels, ids = datamodule.labels(split), datamodule.ids(split)
                made = writer.open(split, entry, layers, labels=labels, ids=ids)
                out = stack.enter_context(made)
            new = missing.among(block.index)
            arrays = _arrays(block, out.layers)
            out.write(block.index[new], {k: v[new] for k, v in arrays.items()}, block.ok[new])
            done += int(new.sum())
            if progress is not None:
                progress(split, done, total)


def _entry(datamodule: Any, split: str) -> SplitEntry:
    source = datamodule.source(split)
    if len(source) == 0:
        raise RefusedRunError(f"extract: the split {split!r} has no images.")
    classes = None if source.classes is None else list(source.classes)
    labelled = datamodule.labels(split) is not None
    return SplitEntry(len(source), source.fingerprint(), classes, labelled)


def _batch_size(datamodule: Any) -> int:
    return int(getattr(datamodule, "eval_batch_size", None) or min(datamodule.batch_size, 256))


def _with_shapes(layers: Mapping[str, LayerEntry], block: FeatureBlock) -> dict[str, LayerEntry]:
    shapes = {name: tuple(feature.shape[1:]) for name, feature in block.features.items()}
    return {
        name: LayerEntry(shapes[name], entry.dtype, entry.path, entry.pooling)
        for name, entry in layers.items()
    }


def _arrays(block: FeatureBlock, layers: Mapping[str, LayerEntry]) -> dict[str, np.ndarray]:
    return {
        name: _array(name, block.features[name], np.dtype(entry.dtype))
        for name, entry in layers.items()
    }


def _array(name: str, feature: Tensor, dtype: np.dtype[Any]) -> np.ndarray:
    values = feature.float().numpy()
    if dtype == np.float16:
        too_large = np.abs(values) > np.finfo(np.float16).max
        if too_large.any():
            raise RefusedRunError(
                f"extract: layer {name!r} has values up to {np.abs(values).max():.3g}, more than "
                "float16 holds (65504). Use `extract.dtype=float32`."
            )
    return values.astype(dtype)
