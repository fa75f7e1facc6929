"""Features of a split, a batch at a time, with the backbone in eval mode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sslight import distributed
from sslight.backbones.layers import LayerReader
from sslight.features.pending import Pending, chunk_rows

Layers = Mapping[str, str] | Sequence[str] | None
_GATHERED_ROWS = 4096


@dataclass(frozen=True)
class FeatureBlock:
    """Features of some rows.

    Attributes:
        index: Dataset indices ``[b]``.
        features: Layer to ``[b, ...]``, on the CPU.
        ok: ``[b]`` bool, false where the image could not be read.
    """

    index: np.ndarray
    features: dict[str, Tensor]
    ok: np.ndarray


def iterate(
    backbone: nn.Module,
    datamodule: Any,
    split: str,
    device: torch.device | str = "cpu",
    layers: Layers = None,
    rank: int = 0,
    world_size: int = 1,
    rows: np.ndarray | Iterator[np.ndarray] | None = None,
    batch_size: int | None = None,
    *,
    inference: bool = True,
) -> Iterator[FeatureBlock]:
    """Run the backbone over the clean view of rows r, r + W, ... of a split.

    Every sub-module is in eval mode during a forward and back in its own mode before a block is
    handed out, so that a caller may stop at any block.

    Args:
        backbone: On ``device``.
        datamodule: With ``num_images``, ``eval_loader`` and ``finish``.
        split: Its name.
        device: Where to compute.
        layers: As in :func:`sslight.backbones.layers.resolve_layers`.
        rank: r.
        world_size: W.
        rows: Dataset indices to run over instead, all of them on this rank; an iterator gives some
            whole batches at a time.
        batch_size: Images per forward; default the datamodule's.
        inference: Inference mode; ``False`` means only no gradients (a network that keeps tensors
            of its forward can be trained on afterwards).
    """
    size = batch_size or 1
    if rows is None:
        rows = Pending(range(rank, datamodule.num_images(split), world_size)).chunks(size)
    parts = rows if isinstance(rows, Iterator) else _chunks(rows, size)
    reader = LayerReader(backbone, layers)
    quiet = torch.inference_mode if inference else torch.no_grad
    for part in parts:
        for raw in datamodule.eval_loader(split, rows=part, batch_size=batch_size):
            batch = datamodule.finish(raw, device)
            if len(batch["index"]):
                yield _block(reader, batch, quiet())


def _chunks(rows: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    step = chunk_rows(batch_size)
    for at in range(0, len(rows), step):
        yield rows[at : at + step]


def _block(reader: LayerReader, batch: Any, quiet: AbstractContextManager[Any]) -> FeatureBlock:
    with eval_mode(reader.backbone), quiet:
        # Convolutions are quicker on interleaved channels, and pass the layout on.
        images = batch["views"][0].contiguous(memory_format=torch.channels_last)
        features = {name: x.cpu() for name, x in reader(images).items()}
    index = batch["index"].cpu().numpy()
    ok = batch["ok"].cpu().numpy() if "ok" in batch else np.ones(len(index), bool)
    return FeatureBlock(index, features, ok)


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards every sub-module has the mode it had, mixed modes included."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, mode in modes:
            m.training = mode


def dataset_features(
    backbone: nn.Module,
    datamodule: Any,
    split: str = "train",
    device: torch.device | str = "cpu",
    *,
    rows: np.ndarray | None = None,
    layer: str | None = None,
    batch_size: int | None = None,
) -> Tensor:
    """Features of a whole split ``[N, D]`` in dataset order, float32 on the CPU, on every rank.

    The rows are split over the ranks of the process group and gathered. Rows of unreadable images
    are NaN. All ranks must call. With ``rows``, features of these dataset indices, in their order.
    """
    if not hasattr(datamodule, "eval_loader"):
        raise ValueError(
            "dataset_features needs an SSLDataModule: call Trainer().fit(method, datamodule)."
        )
    rank, world_size = distributed.rank(), distributed.world_size()
    rows = np.arange(datamodule.num_images(split)) if rows is None else rows
    count = len(rows)
    share = -(-count // world_size)  # rows of the fullest rank; the others pad for the gather
    mine: Tensor | None = None
    done = 0
    layers = None if layer is None else [layer]
    blocks = iterate(
        backbone, datamodule, split, device, layers,
        rows=rows[rank::world_size], batch_size=batch_size, inference=False,
    )  # fmt: skip
    for block in blocks:
        features = next(iter(block.features.values())).float().clone()
        features[~torch.from_numpy(block.ok)] = torch.nan
        if mine is None:
            mine = features.new_zeros(share, *features.shape[1:])  # whatever the default dtype
        mine[done : done + len(features)] = features
        done += len(features)
    return _in_order(mine, count, share, world_size, device)


def _in_order(
    mine: Tensor | None, count: int, share: int, world_size: int, device: torch.device | str
) -> Tensor:
    if world_size == 1:
        if mine is None:
            raise ValueError("dataset_features: the split has no images.")
        return mine
    if mine is None or count < world_size:
        raise ValueError(
            f"dataset_features: {count} images are too few for {world_size} ranks; every rank "
            "needs at least one."
        )
    whole = mine.new_empty(share * world_size, *mine.shape[1:])
    for start in range(0, share, _GATHERED_ROWS):
        part = mine[start : start + _GATHERED_ROWS]
        gathered = distributed.all_gather(part.to(device)).cpu()  # [W * b, D], rank-major
        for r in range(world_size):
            first = start * world_size + r
            last = first + len(part) * world_size
            whole[first:last:world_size] = gathered[r * len(part) : (r + 1) * len(part)]
    return whole[:count]
