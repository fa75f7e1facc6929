"""Whether a run goes on, starts, or must not: decided once, on rank 0, before anything is built."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import torch

from sslight.callbacks.checkpoint import checkpoints
from sslight.config import flatten
from sslight.errors import RefusedRunError

Policy = Literal["auto", "never", "must"]

#: Keys that may change between a run and its continuation: they do not touch the weights.
FREE = (
    "run_dir",
    "resume",
    "extract",
    "eval",
    "callbacks",
    "init",
    "data.workers",
    "data.cache",
    "data.prefetch",
    "data.pin_memory",
    "data.persistent_workers",
    "data.eval_batch_size",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.logger",
    "trainer.profiler",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.log_every_n_steps",
    "trainer.benchmark",
)
#: The one callback that has a say in what is saved as the result.
_BINDING_CALLBACK = "ema_weights"
_TOLD = "SSLIGHT_RESUME_FROM"


class ResumeError(RefusedRunError):
    """The run folder and the command contradict each other; the message gives the ways out."""


@dataclass
class Start:
    """Where a run starts.

    Attributes:
        checkpoint: The checkpoint to go on from, or None.
        lock: The open lock file, held as long as the run lives (rank 0 only).
    """

    checkpoint: Path | None
    lock: IO[str] | None = None


def is_first_process() -> bool:
    """Tell whether this process is rank 0 of its job, before any process group exists."""
    ranks = [os.environ.get(key) for key in ("RANK", "SLURM_PROCID", "LOCAL_RANK")]
    known = [rank for rank in ranks if rank is not None]
    return not known or known[0] == "0"


def decide(run_dir: Path, policy: Policy) -> Start:
    """Choose the checkpoint to start from and lock the folder.

    Other ranks are re-runs of the command on a folder that rank 0 has touched by then, so they are
    told by the environment; ranks started by torchrun or SLURM look at the same files.

    Raises:
        ResumeError: ``never`` on a folder with a run, ``must`` without one, or a folder in use.
    """
    told = os.environ.get(_TOLD)
    if not is_first_process():
        if told is not None:
            return Start(Path(told) if told else None)
        found = checkpoints(run_dir / "checkpoints")
        return Start(found[-1] if found else None)
    found = checkpoints(run_dir / "checkpoints")
    _check_policy(run_dir, policy, bool(found))
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResumeError(f"run_dir: the folder {run_dir} cannot be made: {error}.") from error
    start = Start(found[-1] if found else None, _lock(run_dir))
    os.environ[_TOLD] = str(start.checkpoint or "")
    return start


def release(start: Start) -> None:
    """Give the folder back and forget what the other ranks were told."""
    if start.lock is not None:
        start.lock.close()
        os.environ.pop(_TOLD, None)


def _check_policy(run_dir: Path, policy: Policy, has_checkpoint: bool) -> None:
    if policy == "must" and not has_checkpoint:
        raise ResumeError(
            f"resume: must, but {run_dir / 'checkpoints'} holds no checkpoint. Check run_dir, or "
            "use resume=auto to start a new run."
        )
    if policy == "never" and (has_checkpoint or (run_dir / "config.yaml").exists()):
        raise ResumeError(
            f"resume: never, but {run_dir} already holds a run. Give another run_dir, or "
            "resume=auto to go on with it. Nothing was deleted."
        )


def _lock(run_dir: Path) -> IO[str]:
    lock = open(run_dir / ".lock", "a")  # noqa: SIM115 (held until the run ends)
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not inherited by loader workers
    except OSError as error:
        lock.close()
        raise ResumeError(
            f"Another process is training in {run_dir}. Wait for it, or give another run_dir."
        ) from error
    return lock


# -------------------------------------------------------------------- does it fit together?


def identity(config: Mapping[str, Any], fingerprints: Mapping[str, str]) -> dict[str, Any]:
    """Describe what a run is made from, to be stored in its checkpoints.

    Args:
        config: The resolved config.
        fingerprints: Hash of the index of each split that training uses.
    """
    return {
        "config": json.dumps(config, default=str),
        "fingerprints": dict(fingerprints),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
    }


def read_identity(checkpoint: Path) -> dict[str, Any]:
    """Read the description from a checkpoint, without copying its tensors into memory."""
    try:
        loaded = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
        stored: dict[str, Any] = loaded["sslight"]
    except Exception as error:  # torch answers to damaged bytes with errors of many kinds
        others = [path for path in checkpoints(checkpoint.parent) if path != checkpoint]
        then = f"goes on from {others[-1].name}" if others else "starts anew"
        raise ResumeError(
            f"{checkpoint} is damaged, or no checkpoint of sslight's. Move it out of the folder; "
            f"the same command then {then}."
        ) from error
    return {**stored, "step": loaded.get("global_step", 0)}


def differences(
    stored: Mapping[str, Any], config: Mapping[str, Any], accept: Sequence[str] = ()
) -> list[str]:
    """List what the config says otherwise than the run did, in everything that matters.

    Args:
        stored: From :func:`read_identity`.
        config: The resolved config of the command.
        accept: Keys (and everything below them) whose change the user accepts.
    """
    before = flatten(json.loads(stored.get("config", "{}")))
    now = flatten(json.loads(json.dumps(config, default=str)))
    keys = [key for key in sorted({**before, **now}) if _matters(key) and not _under(key, accept)]
    return [
        f"{key}: the run has {_said(before, key)}, the command says {_said(now, key)}"
        for key in keys
        if key not in before or key not in now or before[key] != now[key]
    ]


def _said(values: Mapping[str, Any], key: str) -> str:
    return repr(values[key]) if key in values else "nothing"


def index_differences(
    stored: Mapping[str, Any], fingerprints: Mapping[str, str], accept: Sequence[str] = ()
) -> list[str]:
    """List the splits whose images, order or labels are not the run's."""
    before = stored.get("fingerprints", {})
    return [
        f"data.{split}: the images or their labels are not those that the run was started on"
        for split, value in fingerprints.items()
        if split in before and before[split] != value and not _under(f"data.{split}", accept)
    ]


def refuse(run_dir: Path, found: Sequence[str]) -> None:
    """Raise with all differences and the ways out; no differences, no error."""
    if not found:
        return
    keys = " ".join(f"--accept {line.split(':')[0]}" for line in found)
    lines = "\n".join(f"  {line}" for line in found)
    raise ResumeError(
        f"{run_dir} holds a run that was made from another config:\n{lines}\n"
        f"Start a new run with another run_dir, restore the old values, or accept the change with "
        f"{keys}"
    )


def _under(key: str, parents: Sequence[str]) -> bool:
    return any(key == parent or key.startswith(f"{parent}.") for parent in parents)


def _matters(key: str) -> bool:
    if _under(key, [f"callbacks.{_BINDING_CALLBACK}"]):
        return True
    if key.startswith("data.") and key.endswith(".root"):
        return False  # the index's hash is compared instead
    return not _under(key, FREE)
