"""Splits, loaders and batches of the data module, without training."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from sslight import SSLDataModule
from sslight.augment.presets import ibot
from sslight.data import loader
from sslight.data.dataset import ViewDataset, seeded
from sslight.data.decoded import decoded_in
from sslight.data.errors import ImageError
from sslight.data.limit import Limit, Subset
from sslight.data.loader import auto_workers
from sslight.data.sources.base import Source
from sslight.data.sources.shapes import Shapes
from sslight.doctor.step import TimedData


class Numbered(Source):
    """Image i is filled with the number i; some cannot be read."""

    def __init__(self, count: int, bad: tuple[int, ...] = (), names: str = "abc") -> None:
        self.count, self.bad = count, bad
        self.classes = list(names)
        self.labels = None

    def open(self) -> None:
        self.labels = np.arange(self.count) % len(self.classes or "x")

    def __len__(self) -> int:
        return self.count

    def load(self, i: int) -> Tensor:
        if i in self.bad:
            raise ImageError(self.id(i), "it is torn")
        return torch.full((3, 8, 8), i, dtype=torch.uint8)

    def id(self, i: int) -> str:
        return f"image_{i}"

    def fingerprint(self) -> str:
        return f"{self.count}"

    def align(self, classes: list[str]) -> None:
        unknown = [name for name in self.classes or [] if name not in classes]
        if unknown:
            raise ValueError(f"unknown classes {unknown}")
        self.classes = classes


def module(**options: object) -> SSLDataModule:
    options = {"views": "simclr", "batch_size": 4, "workers": 0, **options}
    return SSLDataModule(**options)  # type: ignore[arg-type]


def rows(data: SSLDataModule, split: str, **shard: int) -> list[int]:
    loader = data.eval_loader(split, batch_size=2, **shard)
    return [int(i) for raw in loader for i in data.finish(raw, "cpu")["index"]]


def test_every_split_is_read_in_order_and_ranks_share_it() -> None:
    data = module(test=Numbered(7), splits={"val": Numbered(3)})
    assert data.split_names == ["test", "val"]
    assert rows(data, "test") == list(range(7))
    assert rows(data, "test", rank=0, world_size=2) == [0, 2, 4, 6]
    assert rows(data, "test", rank=1, world_size=2) == [1, 3, 5]
    assert data.num_images("val") == 3
    assert list(data.ids("val")) == ["image_0", "image_1", "image_2"]


def test_a_rank_without_rows_gets_empty_batches() -> None:
    data = module(test=Numbered(1))
    (raw,) = data.eval_loader("test", rank=1, world_size=2, batch_size=2)
    batch = data.finish(raw, "cpu")
    assert len(batch["index"]) == 0
    assert batch["views"][0].shape[0] == 0


def test_no_split_is_an_error_and_an_unknown_one_lists_them() -> None:
    with pytest.raises(ValueError, match="no split"):
        SSLDataModule()
    with pytest.raises(ValueError, match=r"'val'.*\['train'\]"):
        module(train=Numbered(4)).source("val")


def test_train_decides_the_classes() -> None:
    data = module(train=Numbered(4, names="abcd"), test=Numbered(4, names="bd"))
    assert data.source("test").classes == list("abcd")
    assert data.num_classes == 4
    with pytest.raises(ValueError, match="unknown classes"):
        module(train=Numbered(4, names="ab"), test=Numbered(4, names="bz")).source("test")


def test_limits() -> None:
    data = module(
        train=Numbered(30), test=Numbered(30), limit=6, test_limit=Limit(9, balanced=True)
    )
    assert data.num_images("train") == 6
    labels = data.labels("test")
    assert labels is not None
    assert np.bincount(labels).tolist() == [3, 3, 3]


def test_global_batch_size() -> None:
    data = module(train=Numbered(8), eval_batch_size=3)
    assert data.global_batch_size("train") == 4
    assert data.global_batch_size("test") == 3


def test_an_unreadable_image_stops_evaluation_or_is_marked() -> None:
    with pytest.raises(ImageError, match=r"image_1.*torn"):
        rows(module(test=Numbered(4, bad=(1,))), "test")
    for policy in ("skip", "replace"):
        data = module(test=Numbered(4, bad=(1,)), on_error=policy)
        batches = [data.finish(raw, "cpu") for raw in data.eval_loader("test", batch_size=4)]
        assert batches[0]["ok"].tolist() == [True, False, True, True]  # type: ignore[typeddict-item]
        assert batches[0]["index"].tolist() == [0, 1, 2, 3]
        assert batches[0]["label"].tolist() == [0, -1, 2, 0]
        assert list(data.bad_images.counts) == ["data.test: image_1: it is torn"]


@pytest.mark.parametrize("policy", ["skip", "replace"])
def test_training_replaces_an_unreadable_image_by_another_one_as_itself(policy: str) -> None:
    data = module(train=Numbered(9, bad=(4,)), on_error=policy)
    dataset = ViewDataset(data.source("train"), data.maker, 0, policy, replace=True)  # type: ignore[arg-type]
    first = dataset.__getitems__([(0, 4), (0, 5)]).content
    again = dataset.__getitems__([(0, 4)]).content
    other = int(first["index"][0])
    assert other != 4
    assert int(first["label"][0]) == other % 3
    assert int(again["index"][0]) == other
    assert first["bad"] == ["data.train: image_4: it is torn"]


def test_too_many_unreadable_images_stop_training() -> None:
    data = module(train=Numbered(5, bad=(0, 1, 2, 3, 4)), on_error="replace")
    dataset = ViewDataset(data.source("train"), data.maker, 0, "replace", replace=True)
    with pytest.raises(ImageError, match="in a row"):
        dataset.__getitems__([(0, 0)])


def test_a_users_random_transform_is_exact_and_leaves_no_trace() -> None:
    class Random(Numbered):
        random = True

        def load(self, i: int) -> Tensor:
            value = torch.randint(256, ()) + int(np.random.randint(256)) + random.randrange(256)
            return (value % 256).to(torch.uint8).expand(3, 8, 8)

    data = module(train=Random(6))
    dataset = ViewDataset(data.source("train"), data.maker, 0, "raise", replace=True)
    state = torch.get_rng_state()
    batch = dataset.__getitems__([(2, 3), (2, 5)]).content["views"][0]
    alone = dataset.__getitems__([(2, 5)]).content["views"][0]
    later = dataset.__getitems__([(3, 5)]).content["views"][0]
    assert torch.equal(batch[1], alone[0])
    assert not torch.equal(batch[0], batch[1])
    assert not torch.equal(alone, later)
    assert torch.equal(state, torch.get_rng_state())


def test_seeded_restores_all_three_generators() -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(1).item()
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    with seeded(7):
        random.random(), np.random.rand(), torch.rand(1)
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected


def test_a_plain_dataset_is_a_split() -> None:
    class Pairs(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return 5

        def __getitem__(self, i: int) -> tuple[Tensor, int]:
            return torch.full((3, 8, 8), i, dtype=torch.uint8), i

    data = module(train=Pairs(), test=Shapes(6, size=16))
    assert rows(data, "train") == list(range(5))


@pytest.mark.parametrize(
    ("cores", "ranks", "memory", "workers"),
    [
        (1, 1, False, 0),
        (2, 1, False, 1),
        (2, 1, True, 1),
        (8, 1, True, 2),
        (8, 8, False, 0),
        (128, 1, False, 16),
        (128, 8, False, 15),
        (128, 8, True, 2),
        (4, 64, False, 0),
    ],
)
def test_workers_leave_a_core_to_training(
    monkeypatch: pytest.MonkeyPatch, cores: int, ranks: int, memory: bool, workers: int
) -> None:
    monkeypatch.setattr(loader, "usable_cores", lambda: cores)
    assert auto_workers(ranks, memory) == workers


def test_pixels_do_not_depend_on_workers() -> None:
    batches = {}
    for workers in (0, 2):
        data = module(test=Shapes(9, size=16), workers=workers)
        loader = data.eval_loader("test", batch_size=4)
        batches[workers] = [data.finish(raw, "cpu")["views"][0] for raw in loader]
    assert all(torch.equal(a, b) for a, b in zip(batches[0], batches[2], strict=True))


class Watched(pl.LightningModule):
    """Keeps the training batches that reach it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: list[dict[str, object]] = []

    def training_step(self, batch: dict[str, object]) -> Tensor:
        self.seen.append(batch)
        return self.weight.square()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("workers", [0, 1])
def test_masks_travel_from_the_worker_and_only_views_change_type(workers: int) -> None:
    views = ibot(32, patch_size=8, local_count=1)
    data = module(train=Shapes(8, size=16), views=views, workers=workers)
    watched = Watched()
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(accelerator="cpu", precision="bf16-true", max_epochs=1, **options)  # type: ignore[arg-type]
    trainer.fit(watched, datamodule=data)
    assert len(watched.seen) == 2
    for batch in watched.seen:
        assert [view.dtype for view in batch["views"]] == [torch.bfloat16] * 3  # type: ignore[attr-defined]
        expected = data.maker.fetch([torch.zeros(3, 16, 16).byte()] * 4, 0, batch["index"])  # type: ignore[arg-type]
        for mask, drawn in zip(batch["masks"], expected["masks"], strict=True):  # type: ignore[call-overload]
            assert torch.equal(mask, drawn)
            assert mask.shape == (4, 16)
    (raw,) = data.eval_loader("train", batch_size=8)
    assert "masks" not in data.finish(raw, "cpu")


# ------------------------------------------------------------------ decoded images that are kept


def prepared(data: SSLDataModule, fn: str = "fit", fast_dev_run: bool = False) -> list[bool]:
    """Let a trainer prepare the data; tell whether the images of each split are kept."""
    state = SimpleNamespace(fn=fn)
    data.trainer = SimpleNamespace(state=state, fast_dev_run=fast_dev_run)  # type: ignore[assignment]
    data.prepare_data()
    data.trainer = None
    kept = [decoded_in(data.source(split)) for split in data.split_names]
    return [one is not None and one._images is not None for one in kept]


def test_training_keeps_what_it_reads(tmp_path: Path) -> None:
    def made(kind: type[SSLDataModule] = SSLDataModule, **options: object) -> SSLDataModule:
        splits = {"train": Numbered(4), "test": Numbered(3), "splits": {"rare": Numbered(2)}}
        return kind(**{**splits, "views": "simclr", "workers": 0, "cache": tmp_path, **options})  # type: ignore[arg-type]

    assert prepared(made(cache=None)) == [False, False, False]
    for data in made(), made(TimedData):  # which measures a few steps
        assert prepared(data, fn="validate") == [False, False, False]
        assert prepared(data, fast_dev_run=True) == [False, False, False]
    assert prepared(made(TimedData)) == [False, False, False]
    data = made()
    assert prepared(data) == [True, True, False]
    data.teardown("fit")
    assert prepared(data, fn="validate") == [False, False, False]
    assert rows(data, "test") == [0, 1, 2]  # evaluation uses what is there
    assert prepared(data, fn="validate") == [False, True, False]


def test_who_borrows_a_split_does_not_end_its_memory(tmp_path: Path) -> None:
    owner = module(test=Numbered(4), cache=str(tmp_path))
    owner.splits.fill(["test"], 0)
    borrowed = module(train=Subset(owner.source("test"), np.array([1, 2])))
    assert prepared(borrowed) == [True]
    borrowed.teardown("fit")
    assert prepared(owner, fn="validate") == [True]


def test_a_side_of_no_pixels() -> None:
    with pytest.raises(ValueError, match="cache_side is 0"):
        module(train=Numbered(4), cache_side=0)


@pytest.mark.parametrize("kept", [{"cache": "ram"}, {"cache_side": 64}])
def test_drafts_are_refused_where_images_are_kept(kept: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        SSLDataModule(Shapes(8, size=16), decode="draft", **kept)
