"""data.cache: the worker's share of two SimCLR views, from images kept decoded and from JPEG files.

python scripts/bench_cache.py                    # all rows
python scripts/bench_cache.py photos             # some
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from _bench import Bench, arguments, at_least

from sslight import views
from sslight.augment.presets import simclr
from sslight.data.decoded import Decoded
from sslight.data.limit import Limit, Subset, limit_rows
from sslight.data.sources.base import Source
from sslight.data.sources.folder import Folder


def main() -> None:
    """Measure all rows."""
    args = arguments(__doc__, images=256)
    bench = Bench("decoded cache", args)
    rows = (
        ("photos at 224 px", args.data / "photos", 224, 64),
        ("CIFAR JPEGs at 32 px", args.data / "cifar10" / "train", 32, args.images),
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, root, size, count in rows:
            source = some(root, count)
            for where, cache in (("a folder", folder), ("ram", "ram")):
                compare(bench, f"{name}, data.cache in {where}", source, cache, size)


def some(root: Path, count: int) -> Source:
    """Take a seeded part of a folder."""
    source = Folder(root)
    source.open()
    rows = limit_rows(None, len(source), Limit(min(count, len(source))))
    return Subset(source, rows)


def compare(bench: Bench, what: str, source: Source, cache: str, size: int) -> None:
    """Crops from kept images against the same crops from files: the same pixels come out."""
    kept = Decoded(source, cache)
    kept.fill(0)
    scaled = Decoded(source, cache, side=256)
    for one, note in ((kept, ""), (scaled, ", cache_side 256")):
        if one is scaled and size < 64:  # small images are kept as they are
            continue
        one.fill(0)
        bench.compare(
            what + note,
            share(one, size),
            share(source, size),
            against="the same images decoded each time",
            reach=at_least(1.0),
            per=len(source),
        )
        one.release()


def share(source: Source, size: int) -> Callable[[], object]:
    """Load a batch and cut two views of each image, as a worker does."""
    maker = views(simclr(size))
    index = torch.arange(len(source))
    return lambda: maker.fetch([source.load(i) for i in range(len(source))], 0, index)


if __name__ == "__main__":
    main()
