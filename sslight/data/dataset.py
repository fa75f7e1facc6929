"""From (epoch, index) pairs to a raw batch, in a worker."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from sslight.augment.draws import seed_of
from sslight.augment.reduced import Reduced, Reducing
from sslight.augment.views import ViewMaker
from sslight.data.batch import RawBatch
from sslight.data.errors import ImageError
from sslight.data.sources.base import Source
from sslight.data.transfer import map_tensors

logger = logging.getLogger("sslight")

OnError = Literal["raise", "skip", "replace"]
Decode = Literal["exact", "draft"]

#: How many other images are tried in place of an unreadable one.
_ATTEMPTS = 20


def check_decode(decode: Decode, *cached: object) -> None:
    """Refuse drafts where images are kept: those are decoded once, whole, for every view."""
    if decode == "draft" and any(kept is not None for kept in cached):
        raise ValueError(
            "data: decode: draft and cache or cache_side exclude each other, since kept images are "
            "decoded once and whole. Remove one of them; cache_side makes kept images small."
        )


class ViewDataset(Dataset[RawBatch]):
    """A source seen through a view maker.

    Args:
        source: An opened source.
        maker: Cuts and draws the views of each image.
        seed: Seed of everything drawn per image.
        on_error: What to do about an unreadable image: ``raise``; ``replace`` it by another one,
            with *its* index and label; ``skip``.
        replace: Whether ``skip`` replaces too (training), or keeps the row marked as not ``ok``.
        decode: ``draft`` decodes images at a fraction of their size, as far as the maker allows
            it; a maker that is not :class:`~sslight.augment.reduced.Reducing` gets them whole.
    """

    def __init__(
        self,
        source: Source,
        maker: ViewMaker,
        seed: int,
        on_error: OnError,
        *,
        replace: bool,
        decode: Decode = "exact",
    ) -> None:
        self.source = source
        self.maker = maker
        self.seed = seed
        self.on_error = on_error
        self.replace = replace
        # None: the maker gets tensors alone.
        self._reducing = maker if decode == "draft" and isinstance(maker, Reducing) else None

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: tuple[int, int]) -> RawBatch:
        return self.__getitems__([key])

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> RawBatch:
        """Load, crop and draw a whole batch; all pairs are of one epoch."""
        try:
            return self._batch(keys) if len(keys) else self._empty()
        except ImageError as error:
            if get_worker_info() is None:
                raise
            return error  # type: ignore[return-value]  # the loader raises it: no worker's traceback

    def _batch(self, keys: Sequence[tuple[int, int]]) -> RawBatch:
        epoch = keys[0][0]
        loaded = [self._load(epoch, int(i)) for _, i in keys]
        index = torch.tensor([i for i, _, _ in loaded], dtype=torch.int64)
        channels = next((image.shape[0] for _, image, _ in loaded if image is not None), 3)
        images = [self._blank(channels) if image is None else image for _, image, _ in loaded]
        content = self.maker.fetch(images, epoch, index)  # type: ignore[arg-type]  # see __init__
        content["index"] = index
        content["label"] = self._labels(index)
        content["ok"] = torch.tensor(
            [image is not None for _, image, _ in loaded], dtype=torch.bool
        )
        content["label"][~content["ok"]] = -1
        content["bad"] = [reason for _, _, reasons in loaded for reason in reasons]
        return RawBatch(content)

    def _labels(self, index: Tensor) -> Tensor:
        labels = self.source.labels
        if labels is None:
            return torch.full((len(index),), -1, dtype=torch.int64)
        return torch.from_numpy(np.asarray(labels[index.numpy()], dtype=np.int64))

    def _load(self, epoch: int, index: int) -> tuple[int, Tensor | Reduced | None, list[str]]:
        """Return (index used, image or None, what went wrong on the way)."""
        reasons: list[str] = []
        for attempt in range(_ATTEMPTS):
            try:
                return index, self._read(epoch, index), reasons
            except ImageError as error:
                if self.on_error == "raise":
                    raise ImageError(error.id, f"{error.reason}. {self._ways_out()}") from error
                reasons.append(f"data.{self.source.split}: {error}")
            if not self.replace:
                return index, None, reasons
            index = seed_of(self.seed, epoch, index, 3, attempt) % len(self.source)
        raise ImageError(
            self.source.id(index),
            f"{_ATTEMPTS} images in a row could not be read; the last ones: {reasons[-3:]}",
        )

    def _ways_out(self) -> str:
        return (
            f"It is an image of data.{self.source.split}; remove it, or go on without such images "
            "by data.on_error=replace or skip."
        )

    def _read(self, epoch: int, index: int) -> Tensor | Reduced:
        if not getattr(self.source, "random", False):
            return self._decode(epoch, index)
        with seeded(seed_of(self.seed, epoch, index, 4)):
            return self._decode(epoch, index)

    def _decode(self, epoch: int, index: int) -> Tensor | Reduced:
        if self._reducing is None:
            return self.source.load(index)
        return self.source.load_reduced(index, partial(self._reducing.reduction, epoch, index))

    def _blank(self, channels: int) -> Tensor:
        return torch.zeros(channels, self.maker.size, self.maker.size, dtype=torch.uint8)

    def _empty(self) -> RawBatch:
        """Return a batch of no rows, for a rank with fewer rows than the others have batches."""
        whole = self.__getitems__([(0, 0)])
        return RawBatch({**map_tensors(whole.content, lambda x: x[:0]), "bad": []})


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch, numpy and random for a user's own transform, and leave them as they were."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])


def first(batch: Any) -> Any:
    """Collate nothing: ``__getitems__`` already returns a batch."""
    return batch
