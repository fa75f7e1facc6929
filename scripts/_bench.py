"""What the benchmarks share: two things measured in turns, one JSON line, one printed line.

Both sides run in one process on one thread, A, B, A, B, ...; a ratio of neighbours does not see
what else the machine does, as that slows both. The figure is the median ratio, the spread its
quartiles.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import multiprocessing
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "docs" / "benchmarks.jsonl"
DATA = Path("../shared/data")

Row = dict[str, Any]
Work = Callable[[], object]

#: Packages whose versions are kept beside a figure.
_PACKAGES = ("torch", "torchvision", "pytorch-lightning", "lightly", "faiss-cpu", "scikit-learn")


@dataclass(frozen=True)
class Reach:
    """What a figure should reach: at least, or at most, a number of a unit."""

    number: float
    at_least: bool = True
    unit: str = "x"

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.number:g} {self.unit}"

    def reached(self, figure: float) -> bool:
        """Tell whether a figure does."""
        return figure >= self.number if self.at_least else figure <= self.number


def at_least(number: float, unit: str = "x") -> Reach:
    """The more the better."""
    return Reach(number, True, unit)


def at_most(number: float, unit: str = "x") -> Reach:
    """The less the better."""
    return Reach(number, False, unit)


def arguments(description: str | None, **numbers: int) -> argparse.Namespace:
    """Read the command line: ``--repeats``, ``--data``, and a number per name."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("rows", nargs="*", help="parts of the names of rows; all by default")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with cifar10/ and photos/")
    parser.add_argument("--dry", action="store_true", help="print, and keep nothing")
    for name, default in {"repeats": 7, **numbers}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


class Bench:
    """One script's rows.

    Args:
        group: Heading of the rows in the table.
        args: As from :func:`arguments`.
        threads: Of torch, on both sides.
    """

    def __init__(self, group: str, args: argparse.Namespace, threads: int = 1) -> None:
        self.group, self.args, self.threads = group, args, threads
        torch.set_num_threads(threads)

    def wants(self, what: str) -> bool:
        """Tell whether the command line asks for a row."""
        return not self.args.rows or any(word in what for word in self.args.rows)

    def compare(
        self,
        what: str,
        ours: Work,
        peer: Work,
        *,
        against: str,
        reach: Reach | None = None,
        per: int = 1,
        clock: Callable[[], float] = time.process_time,
        note: str = "",
    ) -> Row | None:
        """Measure both in turns and keep the row.

        The ratio is peer / ours (times as fast) where more is better, else ours / peer.

        Args:
            what: Name of the row.
            ours: sslight's way.
            peer: What it is compared with.
            against: Name of the peer.
            reach: What the ratio should reach.
            per: Items (images, steps) that one call handles; times are given per item.
            clock: ``time.process_time``, or ``time.perf_counter`` where both sides wait for a disk
                or for other processes.
            note: Said in the table.
        """
        if not self.wants(what):
            return None
        reach = reach or at_least(1.0)
        times = in_turns([ours, peer], self.args.repeats, clock)
        ratios = [p / o if reach.at_least else o / p for o, p in times]
        mine, theirs = (statistics.median(column) / per for column in zip(*times, strict=True))
        return self.keep(
            what,
            ratios,
            reach,
            against=against,
            ours_ms=round(mine * 1e3, 4),
            peer_ms=round(theirs * 1e3, 4),
            clock=clock.__name__,
            note=note,
        )

    def keep(
        self, what: str, figures: list[float], reach: Reach | None, against: str = "", **more: Any
    ) -> Row:
        """Print a figure (the median of several) and append it to the results."""
        low, middle, high = _quartiles(figures)
        row = {
            "group": self.group,
            "row": what,
            "against": against,
            "figure": _rounded(middle),
            "low": _rounded(low),
            "high": _rounded(high),
            "repeats": len(figures),
            "reach": str(reach) if reach else "",
            "unit": reach.unit if reach else more.pop("unit", ""),
            "reached": reach.reached(middle) if reach else None,
            **more,
            "threads": self.threads,
            "command": _command(),
            "machine": machine(),
            "versions": versions(),
            "commit": commit(),
            "date": datetime.date.today().isoformat(),
        }
        print(line(row), flush=True)
        if not self.args.dry:
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        return row


def in_turns(
    works: list[Work], repeats: int, clock: Callable[[], float] = time.process_time
) -> list[tuple[float, ...]]:
    """Run each once unmeasured, then all in turns; return the seconds of each round."""
    for work in works:
        work()
    rounds = []
    for _ in range(repeats):
        gc.collect()
        rounds.append(tuple(_seconds(work, clock) for work in works))
    return rounds


def _seconds(work: Work, clock: Callable[[], float]) -> float:
    """Measure a call; one that returns a float has measured the part that counts itself."""
    start = clock()
    measured = work()
    return measured if isinstance(measured, float) else clock() - start


def in_fresh_process(work: Callable[..., Any], *args: Any) -> Any:
    """Call a function of a script, on one thread, in a process that nothing left memory to."""
    context, usual = multiprocessing.get_context("spawn"), multiprocessing.get_start_method()
    with ProcessPoolExecutor(1, context, _prepare, (usual,)) as fresh:
        return fresh.submit(work, *args).result()


def _prepare(start_method: str) -> None:
    """Start workers as in a process that was not spawned itself."""
    multiprocessing.set_start_method(start_method, force=True)
    torch.set_num_threads(1)


def line(row: Row) -> str:
    """Say a row in a line."""
    times = f"  ({row['ours_ms']:g} ms against {row['peer_ms']:g})" if "ours_ms" in row else ""
    verdict = {True: "reached", False: "NOT REACHED", None: ""}[row["reached"]]
    spread = f"[{row['low']:g}, {row['high']:g}]" if row["repeats"] > 1 else ""
    return (
        f"{row['row']}: {row['figure']:g} {row['unit']} {spread} {row['reach']} {verdict}"
        f"{'  vs ' + row['against'] if row['against'] else ''}{times}"
    )


def _quartiles(figures: list[float]) -> tuple[float, float, float]:
    if len(figures) == 1:
        return figures[0], figures[0], figures[0]
    low, middle, high = statistics.quantiles(figures, n=4, method="inclusive")
    return low, middle, high


def _rounded(number: float) -> float:
    return float(f"{number:.4g}")


def machine() -> str:
    """Name the processor and how many cores this process may use."""
    import os

    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        named = [row for row in info.read_text().splitlines() if row.startswith("model name")]
        model = named[0].partition(":")[2].strip() if named else model
    return f"{model}, {len(os.sched_getaffinity(0))} cores"


def versions() -> dict[str, str]:
    """Name the versions of what is compared."""
    installed = {found.name: found.version for found in metadata.distributions()}
    named = {name: installed[name] for name in _PACKAGES if name in installed}
    return {"python": platform.python_version(), **named}


def _command() -> str:
    return " ".join(["python", f"scripts/{Path(sys.argv[0]).name}", *sys.argv[1:]])


def commit() -> str:
    """Name the commit; ``-dirty`` where what is measured, or measures, differs from it."""
    named = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--", "sslight", "scripts", "configs", "pyproject.toml")
    return f"{named}-dirty" if changed else named


def _git(*words: str) -> str:
    command = ["git", "-C", str(REPOSITORY), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def private_memory() -> int:
    """Bytes of this process that are in memory and in no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def most_private_memory(work: Work, every: float = 0.01) -> int:
    """The most of :func:`private_memory` while some work is done, looked at every so many seconds.

    The peak of the whole process, which the kernel keeps, would hide what is taken after more was
    given back.
    """
    most, over = [private_memory()], threading.Event()

    def watch() -> None:
        while not over.wait(every):
            most.append(max(most.pop(), private_memory()))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        work()
    finally:
        over.set()
        watcher.join()
    return most[0]
