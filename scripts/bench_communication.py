"""What ranks send each other: bytes of every collective of a training step, per method.

Each method trains from its quick config on two gloo ranks; a dispatch mode sees every collective,
those of DDP's C++ too. Bytes are the payload: what is reduced or broadcast, and of a gather the
whole that each rank ends up with. The table in docs/scale.md is written anew.

    python scripts/bench_communication.py
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.multiprocessing as mp
from bench_methods import REPOSITORY, STARTS_FROM, quick_methods
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import sslight
from sslight import config

PAGE = REPOSITORY / "docs" / "scale.md"
TABLE = re.compile(r"<!-- communication -->\n.*?<!-- end -->", re.DOTALL)
RANKS = 2
BATCH = 64
KINDS = {
    "allreduce": "all-reduce",
    "reduce_scatter": "reduce-scatter",
    "allgather": "gather",
    "alltoall": "exchange",
    "broadcast": "broadcast",
}


class Collectives(TorchDispatchMode):
    """Adds up the payload of collectives, by kind."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.namespace == "c10d":
            name = str(func).split(".")[1].strip("_")
            kind = next((k for start, k in KINDS.items() if start in name), name)
            sent = args[1] if kind == "reduce-scatter" else args[0]
            self.bytes[kind] += sum(x.nbytes for x in _tensors(sent))
        return func(*args, **(kwargs or {}))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)


class Count(pl.Callback):
    """Counts the first two steps of the second epoch: what an epoch's start sends, and a step."""

    def __init__(self) -> None:
        self.steps: list[Counter[str]] = []
        self._mode: Collectives | None = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begin to count."""
        if trainer.current_epoch == 1 and batch_idx < 2:
            self._mode = Collectives()
            self._mode.__enter__()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *others: Any
    ) -> None:
        """Keep what was counted."""
        if self._mode is not None:
            self._mode.__exit__(None, None, None)
            self.steps.append(self._mode.bytes)
            self._mode = None


def overrides(method: str, folder: Path) -> list[str]:
    """What makes the quick config a short run on all ranks that says nothing."""
    words = [
        f"run_dir={folder / method}", f"data.batch_size={BATCH}", "data.workers=0",
        f"data.train.num_images={4 * BATCH}", "data.test=null", "trainer.max_epochs=2",
        "trainer.log_every_n_steps=1000", f"trainer.devices={RANKS}", "trainer.strategy=ddp",
        "trainer.sync_batchnorm=false",
    ]  # fmt: skip
    present = config.load(f"{method}/shapes").get("callbacks") or {}
    words += [f"callbacks.{name}=null" for name in present]
    if method in STARTS_FROM:
        words.append(f"{STARTS_FROM[method]}={folder / 'start' / 'backbone.safetensors'}")
    return words


def measure(rank: int, folder: Path, methods: list[str]) -> None:
    """Train every method on this rank; the first one writes what it counted."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29431", "WORLD_SIZE": str(RANKS)}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=RANKS)
    for method in methods:
        count = Count()
        done = sslight.fit(f"{method}/shapes", overrides(method, folder), callbacks=[count])
        trained = sum(p.nbytes for p in done.method.parameters() if p.requires_grad)
        start, step = count.steps
        step["all-reduce"] -= trained
        start["all-reduce"] -= trained
        row = {"gradients": trained, "step": step, "epoch": sum((start - step).values())}
        if rank == 0:
            (folder / f"{method}.json").write_text(json.dumps(row))
            print(method, row, flush=True)


def table(rows: dict[str, Any]) -> str:
    """Return the rows as Markdown, in kB."""
    heads = ["method", "gradients", *KINDS.values(), "an epoch's start"]
    lines = [f"| {' | '.join(heads)} |", "|---" + "|--:" * (len(heads) - 1) + "|"]
    for method, row in rows.items():
        figures = [row["gradients"], *(row["step"].get(k, 0) for k in KINDS.values()), row["epoch"]]
        lines.append(f"| `{method}` | {' | '.join(f'{n / 1000:,.1f}' for n in figures)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("methods", nargs="*", help="which ones; all by default, and in the table")
    methods = parser.parse_args().methods or quick_methods()
    folder = Path(tempfile.mkdtemp())
    try:
        sslight.fit("simclr/shapes", [f"run_dir={folder / 'start'}", "data.train.num_images=256"])
        mp.spawn(measure, (folder, methods), nprocs=RANKS)
        rows = {m: json.loads((folder / f"{m}.json").read_text()) for m in methods}
    finally:
        shutil.rmtree(folder)
    if methods == quick_methods():
        text = f"<!-- communication -->\n{table(rows)}\n<!-- end -->"
        PAGE.write_text(TABLE.sub(lambda _: text, PAGE.read_text()))


if __name__ == "__main__":
    main()
