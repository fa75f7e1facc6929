"""Extraction of generated rows: what memory and time do as they grow, and the store against a file.

Each size is extracted by a process of its own, whose private memory is watched.

    python scripts/bench_store.py                       # 10 thousand and a million rows
    python scripts/bench_store.py --largest 10000000
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from _bench import Bench, arguments, at_least, at_most, in_fresh_process, most_private_memory
from torch import Tensor, nn

from sslight import SSLDataModule, ViewSpec
from sslight.data.sources.fake import Fake
from sslight.features.extract import ExtractOptions, extract_features
from sslight.features.files import RowWriter, create_split
from sslight.features.manifest import LayerEntry

SMALL, SIZE, WIDTH, BLOCK = 10_000, 4, 2048, 4096


class Blank(Fake):
    """Rows that cost nothing to load, with one label that takes no memory."""

    def open(self) -> None:
        """Label all rows alike."""
        self.labels = np.broadcast_to(np.int64(0), self.num_images)
        self.classes = ["blank"]

    def load(self, i: int) -> Tensor:
        """Return a black image."""
        self._check(i)
        return torch.zeros(3, SIZE, SIZE, dtype=torch.uint8)


class Flat(nn.Module):
    """An embedding that costs nothing to compute."""

    embed_dim = 3 * SIZE * SIZE

    def forward(self, images: Tensor) -> Tensor:
        """Embed images."""
        return images.flatten(1)


def main() -> None:
    """Measure all rows."""
    args = arguments(__doc__, largest=1_000_000, megabytes=512)
    bench = Bench("feature store", args)
    growth(bench)
    writing(bench)


def growth(bench: Bench) -> None:
    """Compare the largest size with the small one."""
    what = f"extraction of {bench.args.largest:,} generated rows"
    if not bench.wants(what):
        return
    small, large = (in_fresh_process(extracted, rows) for rows in (SMALL, bench.args.largest))
    against = f"{SMALL:,} rows"
    more = (large["anonymous"] - small["anonymous"]) / 2**20
    bench.keep(f"{what}: more private memory", [more], at_most(50, "MB"), against)
    per_row = 1e6 * large["seconds"] / bench.args.largest
    bench.keep(f"{what}: CPU time a row", [per_row], None, unit="us")


def extracted(rows: int) -> dict[str, float]:
    """Extract, and return the most private memory and the CPU time."""
    view = ViewSpec(size=SIZE, crop="center")
    data = SSLDataModule(Blank(rows, size=SIZE), eval_view=view, views="simclr", workers=0)
    start = time.process_time()
    with TemporaryDirectory() as folder:
        options = ExtractOptions(batch_size=BLOCK)
        most = most_private_memory(lambda: extract_features(Flat(), data, options, folder))
    return {"anonymous": most, "seconds": time.process_time() - start}


def writing(bench: Bench) -> None:
    """Write blocks of features through the store, or into a file."""
    count = bench.args.megabytes * 2**20 // (4 * WIDTH)
    block = np.random.default_rng(0).standard_normal((BLOCK, WIDTH), dtype=np.float32)
    starts = range(0, count - BLOCK + 1, BLOCK)
    with TemporaryDirectory() as folder:

        def store() -> None:
            path, layers = Path(folder) / "split", {"x": LayerEntry((WIDTH,), "<f4", "", "")}
            create_split(path, count, layers, labels=None, ids=map(str, range(count)))
            writer = RowWriter(path, layers, BLOCK)
            for start in starts:
                writer.write(np.arange(start, start + BLOCK), {"x": block}, np.ones(BLOCK, bool))
            writer.close()

        def file() -> None:
            with open(Path(folder) / "raw", "wb") as raw:
                for _ in starts:
                    raw.write(block)
                    raw.flush()
                    os.fsync(raw.fileno())

        bench.compare(
            f"writing {bench.args.megabytes} MB of features, flushed every {BLOCK} rows",
            store,
            file,
            against="a plain file, synced as often",
            reach=at_least(0.9),
            clock=time.perf_counter,
        )


if __name__ == "__main__":
    main()
