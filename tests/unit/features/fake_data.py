"""A data module of made-up images, and a command that extracts them (killed by the tests)."""

from __future__ import annotations

import hashlib
import sys
import time
from types import SimpleNamespace

import numpy as np
import torch

from sslight.augment.presets import PRESETS
from sslight.backbones import backbone
from sslight.features.extract import ExtractOptions, extract_features


class FakeData:
    """Splits of random images; ``bad`` rows cannot be read; ``delay`` seconds per batch."""

    def __init__(self, sizes, *, side=16, bad=(), delay=0.0, labelled=True, batch_size=8, seed=0):
        self.sizes, self.side, self.bad, self.delay = sizes, side, set(bad), delay
        self.labelled, self.batch_size, self.seed = labelled, batch_size, seed
        self.eval_batch_size = None
        self.seen = []

    @property
    def split_names(self):
        return list(self.sizes)

    def source(self, split):
        key = f"{split}{self.sizes[split]}{self.seed}"
        return _Source(self.sizes[split], hashlib.sha256(key.encode()).hexdigest())

    def labels(self, split):
        return np.arange(self.sizes[split]) % 3 if self.labelled else None

    def ids(self, split):
        return [f"{split}/größe {i}\n.png" for i in range(self.sizes[split])]

    def num_images(self, split):
        return self.sizes[split]

    def clean_view(self):
        return PRESETS["eval"](size=self.side)[0]

    def image(self, i):
        generator = torch.Generator().manual_seed(1000 * self.seed + int(i))
        return torch.randn(3, self.side, self.side, generator=generator)

    def eval_loader(self, split, rank=0, world_size=1, rows=None, batch_size=None):
        rows = np.arange(self.sizes[split]) if rows is None else rows
        rows, size = rows[rank::world_size], batch_size or self.batch_size
        for start in range(0, len(rows), size):
            time.sleep(self.delay)
            part = rows[start : start + size]
            self.seen += part.tolist()
            yield SimpleNamespace(index=torch.tensor(part))

    def finish(self, raw, device):
        return {
            "views": [torch.stack([self.image(i) for i in raw.index]).to(device)],
            "index": raw.index.to(device),
            "ok": torch.tensor([int(i) not in self.bad for i in raw.index], device=device),
        }


class _Source:
    def __init__(self, count, fingerprint):
        self.classes = ["a", "b", "c"]
        self.count, self._fingerprint = count, fingerprint

    def __len__(self):
        return self.count

    def fingerprint(self):
        return self._fingerprint


def network(seed=0):
    torch.manual_seed(seed)
    return backbone("resnet10", width=8, stem="small")


def main(out, rank, world_size, delay, shared):
    torch.set_num_threads(1)
    data = FakeData({"train": 83}, bad=[5, 77], delay=float(delay))
    options = ExtractOptions(layers=["res3", "embedding"], flush_rows=8, shared=shared == "shared")
    extract_features(
        network(), data, options, out, rank=int(rank), world_size=int(world_size),
        progress=lambda split, done, of: print(done, flush=True),
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
