"""Run a function on several gloo ranks on the CPU and hand back what each rank returned."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import pickle
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

#: Imported once, by the server that ranks are forked from: a rank then starts in no time.
_PRELOAD = ["torch", "torchvision", "torchmetrics", "pytorch_lightning"]


def run_ranks(n: int, function: Callable[..., Any], *args: Any, timeout: float = 60.0) -> list[Any]:
    """Call ``function(*args)`` in ``n`` fresh processes that form a gloo group.

    ``function`` must stand at the top level of its file; its arguments and result must
    be picklable.

    Returns:
        The results, by rank.

    Raises:
        AssertionError: If a rank raised; the message holds its traceback.
        TimeoutError: If the ranks did not finish in ``timeout`` seconds.
    """
    multiprocessing.set_forkserver_preload(_PRELOAD)
    reference = function.__code__.co_filename, function.__name__
    with tempfile.TemporaryDirectory() as folder:
        context = mp.start_processes(
            _rank, (n, folder, reference, args), nprocs=n, join=False, start_method="forkserver"
        )
        _wait(context, time.monotonic() + timeout)
        outcomes = [pickle.loads((Path(folder) / f"{r}.pkl").read_bytes()) for r in range(n)]
    failures = [f"rank {r}:\n{value}" for r, (ok, value) in enumerate(outcomes) if not ok]
    assert not failures, "\n".join(failures)
    return [value for _, value in outcomes]


def _wait(context: Any, deadline: float) -> None:
    while not context.join(timeout=0.1):
        if time.monotonic() > deadline:
            for process in context.processes:
                process.kill()
            raise TimeoutError("the ranks did not finish in time; does one wait for another?")


def _rank(rank: int, n: int, folder: str, function: tuple[str, str], args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(n))
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=n,
        timeout=timedelta(seconds=60),
    )
    try:
        outcome = (True, _load(*function)(*args))
        dist.barrier()
    except Exception:
        outcome = (False, traceback.format_exc())
    (Path(folder) / f"{rank}.pkl").write_bytes(pickle.dumps(outcome))
    dist.destroy_process_group()


def _load(file: str, name: str) -> Callable[..., Any]:
    """Import the function's file by path: pytest's importlib mode gives it no importable name."""
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return getattr(module, name)
