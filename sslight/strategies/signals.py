"""Stop on a signal: at a step boundary, on all ranks together, with nothing lost."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist

logger = logging.getLogger("sslight")

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class StopSignal:
    """A flag that signals raise and all ranks agree on.

    Handlers only set the flag; a second signal leaves at once. Ranks compare flags by an
    all-reduce on a CPU process group of their own, so that no GPU is waited for.
    """

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}
        self._group: Any = None

    def install(self) -> None:
        """Take the place of the handlers that Lightning installed."""
        for number in STOPPING:
            self._before[number] = signal.signal(number, self._handle)
        if dist.is_available() and dist.is_initialized():
            gloo = dist.get_backend() == "gloo"
            self._group = dist.group.WORLD if gloo else dist.new_group(backend="gloo")

    def restore(self) -> None:
        """Put the earlier handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.received:
            os._exit(128 + number)
        self.received = number

    def agreed(self) -> int:
        """Return the signal number that any rank received, or 0: the same answer on every rank."""
        if self._group is None:
            return self.received
        flag = torch.tensor([self.received])
        dist.all_reduce(flag, op=dist.ReduceOp.MAX, group=self._group)
        return int(flag)

    def leave(self, number: int, trainer: pl.Trainer, how_to_continue: str) -> None:
        """Requeue if SLURM asked, say how to continue, and exit with 128 + the signal."""
        if trainer.is_global_zero:
            if number == signal.SIGUSR1:
                requeue()
            name = signal.Signals(number).name
            logger.info(
                "Stopped by %s after step %d. %s", name, trainer.global_step, how_to_continue
            )
        trainer.strategy.barrier("sslight.leave")
        raise SystemExit(128 + number)


def requeue() -> None:
    """Ask SLURM to start this job again, if this is a job and ``scontrol`` is there."""
    job = os.environ.get("SLURM_ARRAY_JOB_ID")
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    job_id = f"{job}_{task}" if job and task else os.environ.get("SLURM_JOB_ID")
    scontrol = shutil.which("scontrol")
    if not job_id or not scontrol:
        logger.warning("Not requeued: SLURM_JOB_ID is not set or scontrol is not on the PATH.")
        return
    result = subprocess.run([scontrol, "requeue", job_id], check=False)  # noqa: S603 (fixed command)
    if result.returncode:
        logger.warning("scontrol requeue %s failed with exit code %d.", job_id, result.returncode)
    else:
        logger.info("Requeued SLURM job %s.", job_id)
