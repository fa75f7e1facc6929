"""Loaders: errors of workers arrive as they are, and no worker outlives or holds up the process."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

import sslight
from sslight.data.datamodule import SSLDataModule
from sslight.data.errors import ImageError
from sslight.data.sources.base import Source
from sslight.data.sources.fake import Fake

FAILS_WHILE_WORKERS_LIVE = """
import sys, types
from sslight.data.dataset import ViewDataset
from sslight.data.loader import TrainLoader, WorkerOptions
from sslight.data.sampler import EpochBatches
from sslight.data.datamodule import SSLDataModule
from sslight.data.sources.fake import Fake

data = SSLDataModule(train=Fake(num_images=32, size=16), batch_size=4)
dataset = ViewDataset(data.source("train"), data.maker, 0, "raise", replace=True)
batches = EpochBatches(32, 4, 0)
loader = TrainLoader(dataset, batches, WorkerOptions(2), lambda: (0, 0))
sys.modules["__main__"].held = loader  # as a trainer would
for batch in loader:
    raise SystemExit(3)
"""


class Broken(Fake):
    """Row 5 cannot be read."""

    def load(self, i: int) -> torch.Tensor:
        if i == 5:
            raise ImageError(self.id(i), "made to fail")
        return super().load(i)


#: As when a worker never hears that it should end: seen on a busy machine.
DEAF = FAILS_WHILE_WORKERS_LIVE.replace(
    "    raise", "    loader._loader._iterator._shutdown_workers = lambda: None\n    raise"
)


@pytest.mark.parametrize("script", [FAILS_WHILE_WORKERS_LIVE, DEAF], ids=["polite", "deaf"])
def test_a_process_that_fails_in_an_epoch_ends(script: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(sslight.__file__).parents[1])}
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], env=environment, timeout=60, check=False)
    assert done.returncode == 3
    assert time.monotonic() - start < 45


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_image_is_named_without_a_worker_s_traceback(workers: int) -> None:
    data = SSLDataModule(test=Broken(num_images=8, size=16), batch_size=4, workers=workers)
    with pytest.raises(ImageError) as caught:
        list(data.eval_loader("test"))
    assert str(caught.value) == (
        "fake/test/5: made to fail. It is an image of data.test; remove it, or go on without such "
        "images by data.on_error=replace or skip."
    )


def test_unreadable_images_are_named_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    data = SSLDataModule(
        test=Broken(num_images=8, size=16), batch_size=4, workers=0, on_error="skip"
    )
    for _ in range(2):
        rows = [data.finish(raw, "cpu")["ok"] for raw in data.eval_loader("test")]
    assert np.flatnonzero(~torch.cat(rows).numpy()).tolist() == [5]
    data.bad_images.say()
    assert [record.getMessage() for record in caplog.records] == [
        "Unreadable image (on_error: skip): data.test: fake/test/5: made to fail",
        "1 unreadable images (named above) came up 2 times; on_error: skip.",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; give a number from 1"),
        ({"eval_batch_size": -2}, "eval_batch_size is -2"),
        ({"workers": -1}, "workers is -1; give a number from 0"),
        ({"prefetch": 0}, "prefetch is 0"),
        ({"splits": {"train": Fake()}}, r"splits holds \['train'\]"),
        ({"splits": {"../x": Fake()}}, "the name becomes a folder"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SSLDataModule(train=Fake(), **options)


def test_a_split_that_cannot_be_opened_is_the_user_s_mistake(tmp_path: Path) -> None:
    from sslight.data.sources.folder import Folder
    from sslight.errors import RefusedRunError

    source: Source = Folder(tmp_path / "absent")
    with pytest.raises(RefusedRunError, match="does not exist"):
        SSLDataModule(train=source).num_images("train")


def test_no_worker_outlives_the_fit() -> None:
    data = SSLDataModule(Fake(num_images=16, size=16), views="simclr", batch_size=4, workers=1)
    method = tiny.build("simclr")
    before = set(multiprocessing.active_children())
    tiny.trainer(max_epochs=2).fit(method, datamodule=data)
    assert method.trainer.global_step == 8
    assert set(multiprocessing.active_children()) <= before  # others' may end meanwhile


def test_a_loader_lists_its_rows_a_batch_at_a_time() -> None:
    data = SSLDataModule(test=Fake(8, size=16), views="simclr", workers=0)
    rows = np.arange(200_000) % 8
    tracemalloc.start()
    try:
        loader = data.eval_loader("test", rows=rows, batch_size=1000)
        assert len(loader.batches) == 200
        assert all(len(batch) == 1000 for batch in loader.batches)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000  # pairs of all rows would be 20 MB
    finally:
        tracemalloc.stop()
