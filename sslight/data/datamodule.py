"""SSLDataModule: the splits of a dataset, their loaders, and the batched augmentation."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import Dataset

from sslight import strategies
from sslight.augment import presets
from sslight.augment.parts import Part
from sslight.augment.spec import Colors, ViewSpec
from sslight.augment.views import ViewMaker, make_views
from sslight.data.bad_images import BadImages
from sslight.data.batch import RawBatch, convert_images
from sslight.data.dataset import Decode, OnError, ViewDataset, check_decode
from sslight.data.limit import Limit
from sslight.data.loader import EvalLoader, TrainLoader, WorkerOptions, auto_workers
from sslight.data.sampler import EpochBatches, check_at_least, shard_rows
from sslight.data.sources.base import Source
from sslight.data.splits import Ids, Splits, merge_splits
from sslight.types import Batch

AnySource = Source | Dataset[Any]


class SSLDataModule(pl.LightningDataModule):
    """Train, test and extra splits; any of them may be absent, and labels may too.

    Pixels are decoded and cropped per image in workers, and augmented in batches on the device
    after the transfer. Everything drawn is a function of (seed, epoch, image, view): neither the
    number of workers and ranks nor a restart changes it.

    Args:
        train: The images to learn from: a source, or any map-style dataset.
        test: Images for validation and evaluation.
        splits: Further named splits, for extraction and evaluation.
        views: View specs, a preset's name, or a view maker; None for the method's default.
        eval_view: The clean view; None for the ``eval`` preset at the first view's size.
        batch_size: Images per optimizer step, over all devices and accumulated micro-batches.
        eval_batch_size: Images per forward pass of evaluation on each device; None for the size of
            a training micro-batch.
        workers: Worker processes per rank; ``auto`` looks at the cores.
        on_error: What to do about unreadable images. ``replace``: another image takes the place,
            with its own index and label; ``skip``: the same in training, while extraction and
            evaluation keep the row, marked as not ok.
        decode: ``draft`` decodes a JPEG at 1/2, 1/4 or 1/8 of its size where every view is shrunk
            that far: from 12 megapixels three times the images per second. The same regions are
            seen; pixels differ by 1.6 of 255 on average and by 18 at the 99.9th percentile at most.
        colors: ``exact``: jitter and grey of training views as torchvision computes them;
            ``linear``: as one matrix per image, which takes a seventh less time on a CPU and a
            few operators on a GPU; pixels differ by 5 of 255 on average, 51 at the 99th percentile.
        limit: A number of train images, or a :class:`Limit`.
        test_limit: The same for the test split.
        cache: Where to keep decoded images, so that each is decoded once and not in every epoch:
            ``ram`` (shared by workers and ranks, gone at the end), or a folder, which the next run
            uses again. Filled before training; pixels are the same with and without.
        cache_side: Images whose shorter side is longer are scaled down to it, which takes less room
            and changes what is learned from; None for as they are.
        seed: Seed of order, crops, colours and every other draw.
        pin_memory: Page-locked batches; None for "with a GPU".
        persistent_workers: Keep workers between epochs.
        prefetch: Batches that each worker prepares ahead.
    """

    def __init__(
        self,
        train: AnySource | None = None,
        test: AnySource | None = None,
        *,
        splits: dict[str, Source] | None = None,
        views: Sequence[ViewSpec | Part] | ViewMaker | str | None = None,
        eval_view: ViewSpec | None = None,
        batch_size: int = 256,
        eval_batch_size: int | None = None,
        workers: int | Literal["auto"] = "auto",
        on_error: OnError = "raise",
        decode: Decode = "exact",
        colors: Colors = "exact",
        limit: int | Limit | None = None,
        test_limit: int | Limit | None = None,
        cache: str | Path | None = None,
        cache_side: int | None = None,
        seed: int = 0,
        pin_memory: bool | None = None,
        persistent_workers: bool = True,
        prefetch: int = 2,
    ) -> None:
        super().__init__()
        check_at_least(1, batch_size=batch_size, eval_batch_size=eval_batch_size, prefetch=prefetch)
        check_at_least(1, cache_side=cache_side)
        check_at_least(0, workers=workers)
        check_decode(decode, cache, cache_side)
        given = merge_splits(train, test, splits)
        self.splits = Splits(given, {"train": limit, "test": test_limit}, cache, cache_side)
        self.views, self.eval_view, self.colors = views, eval_view, colors
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.decode: Decode = decode
        self.view_dataset = partial(ViewDataset, seed=seed, on_error=on_error, decode=decode)
        self.seed, self.workers, self.prefetch = seed, workers, prefetch
        self.pin_memory, self.persistent_workers = pin_memory, persistent_workers
        self.on_error, self.bad_images = on_error, BadImages(on_error)
        self._train_loader: TrainLoader | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.split_names)}; {self.batch_size} a batch)"

    # ---------------------------------------------------------------- splits

    @property
    def split_names(self) -> list[str]:
        """Names of the splits that exist."""
        return self.splits.names

    def source(self, split: str) -> Source:
        """Return a split, opened."""
        return self.splits.open(split)

    open = source

    def labels(self, split: str) -> np.ndarray | None:
        """Return the labels of a split, or None."""
        return self.source(split).labels

    def ids(self, split: str) -> Sequence[str]:
        """Return the identifiers (paths) of a split's rows, as a lazy sequence."""
        return Ids(self.source(split))

    def num_images(self, split: str) -> int:
        """Return the number of images of a split."""
        return len(self.source(split))

    @property
    def num_train_images(self) -> int | None:
        """Images to train on, or None without a train split."""
        return self.num_images("train") if "train" in self.splits else None

    @property
    def classes(self) -> list[str] | None:
        """Class names in the order of their ids, or None where they are unknown."""
        return self.splits.reference.classes

    @property
    def num_classes(self) -> int | None:
        """Number of classes, or None without labels."""
        return self.splits.num_classes()

    # ---------------------------------------------------------------- views

    @cached_property
    def maker(self) -> ViewMaker:
        """The view maker of training."""
        module = self.trainer.lightning_module if self.trainer is not None else None
        views = self.views if self.views is not None else getattr(module, "default_views", "simclr")
        return make_views(views, self.seed, colors=self.colors)

    @cached_property
    def eval_maker(self) -> ViewMaker:
        """The view maker of evaluation: one clean view."""
        return make_views([self.clean_view()], seed=self.seed)

    def clean_view(self) -> ViewSpec:
        """Return the spec of the evaluation view."""
        if self.eval_view is not None:
            return self.eval_view
        trained = self.maker.specs[0]
        (spec,) = presets.eval(size=self.maker.size, mean=trained.mean, std=trained.std)
        return spec

    def augmented(self) -> SSLDataModule:
        """Return this data with the views of training in place of evaluation's clean one."""
        other = copy.copy(self)
        other.eval_maker = self.maker
        return other

    # ---------------------------------------------------------------- loaders

    def prepare_data(self) -> None:
        """Decode what training reads and keep it, where ``cache`` says so; once on each node."""
        trainer = self.trainer
        if trainer is not None and trainer.state.fn == "fit" and not strategies.is_trial(trainer):
            self.splits.fill(("train", "test"), self.workers)

    def setup(self, stage: str) -> None:
        """Open what the stage needs; images are not read."""
        for split in ("train", "test") if stage == "fit" else ("test",):
            if split in self.splits:
                self.source(split)

    def train_dataloader(self) -> TrainLoader:
        """Return this rank's training batches."""
        trainer = self.trainer
        if trainer is None or "train" not in self.splits:
            raise ValueError("Training needs a train split and a Trainer; evaluate with test only.")
        source = self.splits.open_decoded("train")
        batches = EpochBatches(
            len(source),
            self.batch_size,
            self.seed,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            accumulate=trainer.accumulate_grad_batches,
        )
        dataset = self.view_dataset(source, self.maker, replace=True)
        position = partial(strategies.loader_position, trainer)
        self._train_loader = TrainLoader(dataset, batches, self._worker_options(source), position)
        return self._train_loader

    def teardown(self, stage: str) -> None:
        """End the workers of training, and give memory back."""
        if self._train_loader is not None:
            self._train_loader.close()
        self.splits.release()

    def val_dataloader(self) -> EvalLoader | list[Any]:
        """Return this rank's share of the test split; nothing without one."""
        if "test" not in self.splits:
            return []
        return self.eval_loader("test", self._rank, self._world_size)

    test_dataloader = predict_dataloader = val_dataloader

    def eval_loader(
        self,
        split: str,
        rank: int = 0,
        world_size: int = 1,
        rows: np.ndarray | None = None,
        batch_size: int | None = None,
    ) -> EvalLoader:
        """Return clean-view batches of a split's rows: rank r gets rows r, r + W, ...

        Args:
            split: Name of the split.
            rank: Which share.
            world_size: Number of shares.
            rows: Dataset indices to read; None for all.
            batch_size: Images per batch; None for ``eval_batch_size``.
        """
        source = self.splits.open_decoded(split)
        rows = np.arange(len(source)) if rows is None else rows
        size = batch_size or self.eval_batch_size or self._micro_batch()
        dataset = self.view_dataset(source, self.eval_maker, replace=False)
        batches = shard_rows(rows, rank, world_size, size)
        return EvalLoader(dataset, batches, self._worker_options(source))

    def finish(self, raw: RawBatch, device: torch.device | str) -> Batch:
        """Move an evaluation batch to a device and apply its clean view."""
        return self._finish(self.eval_maker, raw.to(device))

    def global_batch_size(self, split: str = "train") -> int:
        """Images per step over all devices (VISSL's get_global_batchsize)."""
        if split == "train":
            return self.batch_size
        return (self.eval_batch_size or self._micro_batch()) * self._world_size

    def _micro_batch(self) -> int:
        accumulate = self.trainer.accumulate_grad_batches if self.trainer is not None else 1
        return max(self.batch_size // (self._world_size * accumulate), 1)

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer is not None else 0

    @property
    def _world_size(self) -> int:
        return self.trainer.world_size if self.trainer is not None else 1

    def _worker_options(self, source: Source) -> WorkerOptions:
        ranks = self._world_size // self.trainer.num_nodes if self.trainer is not None else 1
        automatic = self.workers == "auto"
        workers = auto_workers(ranks, source.in_memory) if automatic else int(self.workers)
        pin = torch.cuda.is_available() if self.pin_memory is None else self.pin_memory
        return WorkerOptions(workers, self.prefetch, self.persistent_workers, pin)

    # ---------------------------------------------------------------- on the device

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Augment a raw batch in float32, then hand over the precision plugin's type."""
        if not isinstance(batch, RawBatch):
            return batch
        training = self.trainer is not None and self.trainer.training
        return self._finish(self.maker if training else self.eval_maker, batch)

    def _finish(self, maker: ViewMaker, raw: RawBatch) -> Batch:
        self.bad_images.note(raw.content.pop("bad", ()))
        with torch.autocast(raw.content["index"].device.type, enabled=False):
            batch = maker.apply(raw.content)
        if self.trainer is not None:
            convert_images(batch, self.trainer.precision_plugin.convert_input)
        return cast(Batch, batch)
