"""The last lines of a run: what came out, where it is, and what to do with it."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from pathlib import Path

import pytorch_lightning as pl

from sslight.data.datamodule import SSLDataModule

log = logging.getLogger("sslight")

#: Metrics that say nothing about the result.
_LEFT_OUT = ("step", "time/", "train/lr", "lr/", "collapse/", "probe/loss")


def last_metrics(trainer: pl.Trainer) -> dict[str, float]:
    """Return the last value of each logged metric."""
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def in_words(metrics: Mapping[str, float]) -> str:
    """Write metrics in a line; steps, times and rates are left out."""
    shown = {k: v for k, v in metrics.items() if not k.startswith(_LEFT_OUT)}
    return "  ".join(f"{name} {value:.4g}" for name, value in shown.items())


def say_what_next(
    run_dir: Path,
    trainer: pl.Trainer,
    data: SSLDataModule,
    total: int,
    report: Path | None = None,
    *,
    commands: bool = True,
) -> None:
    """Log the last metrics, where everything is and the next commands.

    Args:
        run_dir: The run's folder.
        trainer: After ``fit``.
        data: Labels in train and test decide whether ``eval`` or ``extract`` comes next.
        total: Steps that the config asked for.
        report: The page about the run, if there is one.
        commands: Whether the run's config suffices for the next commands.
    """
    step, found = trainer.global_step, in_words(last_metrics(trainer))
    early = f" of {total}, as a limit or a callback asked" if step < total else ""
    log.info("Finished after step %d%s.%s", step, early, f" {found}" if found else "")
    log.info("Run folder: %s (backbone.safetensors, checkpoints, metrics.jsonl, log.txt)", run_dir)
    if report is not None:
        log.info("Report: %s (open it in a browser)", report)
    where = shlex.quote(str(run_dir))
    if commands:
        log.info("Next: sslight %s --config %s", _next_command(data), where)
    if (run_dir / "tensorboard").is_dir():
        log.info("Curves: tensorboard --logdir %s", where)


def _next_command(data: SSLDataModule) -> str:
    labelled = all(
        split in data.split_names and data.labels(split) is not None for split in ("train", "test")
    )
    return "eval" if labelled else "extract"


def say_report_next(run_dir: Path) -> None:
    """Log the command that shows new features and results; nothing where there is no run."""
    if (run_dir / "config.yaml").is_file():
        log.info("Next: sslight report %s", shlex.quote(str(run_dir)))
