"""``environment.json``: what a run was started with, for whoever looks at it later."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from sslight.reports.facts import ENVIRONMENT, data_facts
from sslight.reports.secrets import clean_text
from sslight.utils import write_atomically

_PACKAGES = ("sslight", "torch", "pytorch-lightning", "torchvision", "timm", "numpy")
#: Starts that are kept: the first one and the newest.
_KEPT = 20


def note_start(run_dir: Path, command: str, trainer: Any, data: Any, total: int) -> None:
    """Add this start to ``environment.json``; call it on rank 0.

    Args:
        run_dir: The run's folder.
        command: The command line; secrets in it are left out.
        trainer: Says devices, precision and the step that the run goes on from.
        data: Its splits are counted.
        total: Optimizer steps asked for.
    """
    path = run_dir / ENVIRONMENT
    starts = json.loads(path.read_text())["starts"] if path.exists() else []
    starts.append(
        {
            "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": clean_text(command),
            "versions": versions(),
            "hardware": {**hardware(), **_use(trainer)},
            "git": git(Path.cwd()),
        }
    )
    content = {"starts": starts[:1] + starts[1:][-_KEPT:], "total": total, "data": data_facts(data)}
    write_atomically(path, f"{json.dumps(content, indent=1)}\n".encode())


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide numbers."""
    found = {package: _version(package) for package in _PACKAGES}
    return {"python": platform.python_version(), **{k: v for k, v in found.items() if v}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def hardware() -> dict[str, Any]:
    """Processor, memory and GPUs of this machine; it is not named."""
    found: dict[str, Any] = {"system": f"{platform.system()} {platform.machine()}"}
    found["processor"] = _processor()
    found["cores"] = os.cpu_count()
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found["memory_gib"] = round(
            os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        )
    if torch.cuda.is_available():
        gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        found["gpus"] = [f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB" for gpu in gpus]
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def _use(trainer: Any) -> dict[str, Any]:
    return {
        "device": trainer.strategy.root_device.type,
        "processes": trainer.world_size,
        "threads": torch.get_num_threads(),
        "precision": str(trainer.precision),
    }


def git(folder: Path) -> dict[str, Any]:
    """Commit of the repository around a folder, and whether files differ; {} without one."""
    words = ["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=40"]
    try:
        done = subprocess.run(  # noqa: S603 (a fixed command)
            words, cwd=folder, capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    commit, _, dirty = done.stdout.strip().partition("-")
    return {"commit": commit, "changed": bool(dirty)}


def command_line() -> str:
    """The command line of this process, as a person would type it."""
    program, *rest = sys.argv
    name = "python -m sslight" if program.endswith("__main__.py") else Path(program).name
    return shlex.join([*name.split(), *rest])
