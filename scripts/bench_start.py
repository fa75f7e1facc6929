"""How long it takes until something happens: the command line, the first step, a late resume.

python scripts/bench_start.py
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from _bench import Bench, Reach, arguments, at_most

from sslight.data.sampler import EpochBatches

#: A fit that ends after its first step; checkpoints are written after it, so the log is asked.
FIRST = """
import sys, time, os
import pytorch_lightning as pl
import sslight
class First(pl.Callback):
    def on_train_batch_end(self, *_):
        print("first step", flush=True)
        os._exit(0)
sslight.fit("quickstart", ["run_dir=" + sys.argv[1], "data.workers=0"], callbacks=[First()])
"""


def main() -> None:
    """Measure all rows."""
    args = arguments(__doc__)
    bench = Bench("start", args)
    command = [sys.executable, "-m", "sslight"]
    process(bench, "sslight --help", [*command, "--help"], at_most(0.3, "s"))
    process(bench, "sslight check", [*command, "check", "--config", "quickstart"], at_most(6, "s"))
    with TemporaryDirectory() as folder:
        runs = (str(Path(folder) / str(i)) for i in range(1 << 30))
        first = [sys.executable, "-c", FIRST]
        what = "quickstart, to the end of the first step"
        process(bench, what, first, at_most(10, "s"), runs)
    resume(bench)


def process(bench: Bench, what: str, words: list[str], reach: Reach, more: object = None) -> None:
    """Time a process from its start to its end, by the CPU time it used."""
    if not bench.wants(what):
        return
    seconds = []
    for i in range(bench.args.repeats + 1):
        said = [*words, next(more)] if more is not None else words  # type: ignore[call-overload]
        before = _children()
        subprocess.run(said, capture_output=True, check=True)
        seconds += [_children() - before] if i else []
    bench.keep(what, seconds, reach, note="CPU time of the process", clock="CPU")


def _children() -> float:
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def resume(bench: Bench) -> None:
    """Ask a billion images' epoch for the batch after a million steps."""
    what = "the batch after step 1,000,000 of an epoch of 10^9 images"
    if not bench.wants(what):
        return
    seconds = []
    for epoch in range(bench.args.repeats):
        start = time.perf_counter()
        batches = EpochBatches(10**9, 512, seed=0)
        batches.start_at(epoch, 1_000_000)
        next(iter(batches))
        seconds.append(time.perf_counter() - start)
    bench.keep(what, seconds, at_most(1.0, "s"), note="no batch before it is touched")


if __name__ == "__main__":
    main()
