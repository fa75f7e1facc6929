"""The Trainer of a config: Lightning's arguments, our plugins."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.profilers import (
    AdvancedProfiler,
    Profiler,
    PyTorchProfiler,
    SimpleProfiler,
)

from sslight import config as configs
from sslight.errors import refusing
from sslight.loggers import JsonlLogger
from sslight.strategies import AtomicCheckpointIO, SyncBatchNormPlugin
from sslight.utils import say_once

#: What sslight decides: its own loaders, progress and checkpoints.
_FIXED = {
    "use_distributed_sampler": False,
    "num_sanity_val_steps": 0,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}

_PROFILERS = {
    "simple": SimpleProfiler,
    "advanced": AdvancedProfiler,
    "pytorch": PyTorchProfiler,
}

#: Warnings about Lightning's own code, or about loaders and modes that are as sslight wants them.
_NOT_FOR_USERS = (
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*does not have many workers.*",
    r".*your dataloader is not resumable.*",
    r".*module\(s\) in eval mode at the start of training.*",
    r".*smaller than the logging interval.*",
    r".*Total length of `list` across ranks is zero.*",  # there is no test split
    r".*It is recommended to use `self.log.*sync_dist=True.*",  # values are equal on all ranks
)


def build_trainer(
    node: Mapping[str, Any],
    run_dir: Path,
    callbacks: Sequence[Callback] = (),
    logger: Logger | Sequence[Logger] | None = None,
    *,
    trust: Sequence[str] = (),
    start_step: int = 0,
) -> pl.Trainer:
    """Build the Trainer.

    Args:
        node: The ``trainer`` node of a config.
        run_dir: Folder of the run.
        callbacks: All callbacks.
        logger: Loggers in place of what the config names (TensorBoard by default); metrics.jsonl is
            always written.
        trust: Packages whose classes the config may name.
        start_step: The step the run goes on from; later events are cut from TensorBoard.
    """
    with refusing(ImportError):
        options = configs.trainer_arguments(node, trust, run_dir)
    options["profiler"] = _profiler(options.get("profiler"), run_dir)
    sync = options.pop("sync_batchnorm", False)
    named = options.pop("logger", None)
    chosen = logger if logger is not None else named
    if chosen is None or chosen is True:
        purge = start_step + 1 if (run_dir / "tensorboard").exists() else None
        chosen = TensorBoardLogger(run_dir, name="", version="tensorboard", purge_step=purge)
    several = [chosen] if isinstance(chosen, Logger) else list(chosen or [])
    with refusing(MisconfigurationException, ValueError, TypeError, ImportError):
        return pl.Trainer(
            **{**options, **_FIXED},
            default_root_dir=run_dir,
            callbacks=list(callbacks),
            logger=[*several, JsonlLogger(run_dir)],
            plugins=_plugins(sync),
        )


def _profiler(chosen: Any, run_dir: Path) -> Any:
    """Let a profiler write ``<stage>-profile-<rank>.txt`` into the run unless it says where."""
    if isinstance(chosen, str):
        chosen = _PROFILERS[chosen]()
    if isinstance(chosen, Profiler):
        chosen.dirpath = chosen.dirpath or run_dir
        chosen.filename = chosen.filename or "profile"
    return chosen


def _plugins(sync_batchnorm: bool | int) -> list[Any]:
    plugins: list[Any] = [AtomicCheckpointIO()]
    if sync_batchnorm:
        plugins.append(SyncBatchNormPlugin(None if sync_batchnorm is True else sync_batchnorm))
    if SLURMEnvironment.detect():
        plugins.append(SLURMEnvironment(auto_requeue=False))
    return plugins


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning to warnings that a user can act on; each warning is one line, said once."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for pattern in _NOT_FOR_USERS:
            warnings.filterwarnings("ignore", message=pattern)
        warnings.showwarning = _say_warning
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _say_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    """Write a warning as a sentence into the log, in place of a path and a line of code."""
    where = "/".join(Path(filename).parts[-2:])
    say_once(f"{' '.join(str(message).split())} ({where}:{lineno})")
