"""Protocols that train through images: ``fit`` of ``supervised`` in a folder of its own."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sslight import config as configs
from sslight.checkpoints.record import weights_digest
from sslight.data.datamodule import SSLDataModule
from sslight.data.limit import Subset
from sslight.data.sources.base import Source
from sslight.distributed import broadcast_object, rank
from sslight.eval._training import Trained, Training
from sslight.eval.base import Subject
from sslight.run.fit import fit
from sslight.run.result import FitResult
from sslight.run.trainer import quiet_lightning
from sslight.utils import write_atomically

log = logging.getLogger("sslight")

#: Keys of the evaluated config's trainer that say on what to train, not how long.
_MACHINE = (
    *("accelerator", "devices", "num_nodes", "strategy", "precision", "sync_batchnorm"),
    *("log_every_n_steps", "benchmark", "deterministic", "profiler", "logger"),
)
_CALLBACKS: dict[str, Any] = {
    "progress": {},
    "nan_guard": {},
    "checkpoint": {"every_n_epochs": 1, "keep_last": 1},
}
_FIGURES = "figures.json"


class SupervisedTrainer:
    """Fits ``supervised`` on a copy of a subject's backbone, once.

    The folder ``eval/<label>-<hash>`` is named after everything that decides the result: weights,
    images, and the training asked for. The same evaluation thus goes on where it was stopped, a
    finished one is read, and another one begins anew beside it.

    Args:
        run_dir: The folder of the evaluated run.
        trainer: The ``trainer`` node of its config; its machine is used, its length is not.
        trust: Packages whose classes the config may name.
    """

    def __init__(self, run_dir: Path, trainer: Mapping[str, Any], trust: Sequence[str]) -> None:
        self.run_dir, self.trust = run_dir, trust
        self.machine = {key: trainer[key] for key in _MACHINE if key in trainer}

    def __call__(self, subject: Subject, label: str, training: Training) -> Trained:
        """Fit, or go on with it, or read its figures. All ranks call."""
        folder = self.run_dir / "eval" / f"{label}-{_identity(subject, training)}"
        found = broadcast_object(_figures_in(folder))
        if found is not None:
            log.info("%s: done before in %s.", label, folder)
            return Trained(found, folder)
        log.info("%s: training in %s.", label, folder)
        result = self._fit(subject, training, folder)
        metrics = _measured(result)
        if rank() == 0:
            write_atomically(folder / _FIGURES, json.dumps(metrics).encode())
        return Trained(metrics, folder)

    def _fit(self, subject: Subject, training: Training, folder: Path) -> FitResult:
        backbone = copy.deepcopy(subject.backbone).cpu().requires_grad_(True).train()
        method = configs.build(
            "method", {"name": "supervised", **training.method}, self.trust,
            backbone=backbone, optim=training.optim,
        )  # fmt: skip
        method.seed = training.seed
        node = {
            "seed": training.seed,
            "run_dir": str(folder),
            "method": {"name": "supervised", **training.method},
            "trainer": {"sync_batchnorm": True, **self.machine, "max_epochs": training.epochs},
            "callbacks": _CALLBACKS,
        }
        return fit(node, method=method, data=_data(subject, training), trust=self.trust)


class _Opened(Subset):
    """Rows of a source that is open under its own split's name, and stays so."""

    def __init__(self, source: Source, rows: np.ndarray | None = None) -> None:
        super().__init__(source, np.arange(len(source)) if rows is None else rows)

    def open(self) -> None:
        """Do nothing."""


def _data(subject: Subject, training: Training) -> SSLDataModule:
    view, clean = training.views
    return SSLDataModule(
        train=_Opened(subject.source(training.train), training.rows),
        test=_Opened(subject.source(training.test)),
        views=[view],
        eval_view=clean,
        batch_size=training.batch_size,
        seed=training.seed,
        **subject.data_options,
    )


def _identity(subject: Subject, training: Training) -> str:
    """Eight digits for the weights, the images and the training."""
    parts = [weights_digest(subject.backbone.state_dict()), repr(training)]
    parts += [subject.source(split).fingerprint() for split in (training.train, training.test)]
    digest = hashlib.sha256("|".join(parts).encode())
    digest.update(b"" if training.rows is None else training.rows.tobytes())
    return digest.hexdigest()[:8]


def _figures_in(folder: Path) -> dict[str, float] | None:
    path = folder / _FIGURES
    return json.loads(path.read_text()) if path.is_file() else None


def _measured(result: FitResult) -> dict[str, float]:
    """The test split's figures at the end; measured now if this process did not train."""
    if not any(name.startswith("val/") for name in result.metrics):
        with quiet_lightning():
            result.trainer.validate(result.method, datamodule=result.data, verbose=False)
    found = {k: v for k, v in result.metrics.items() if k.startswith("val/")}
    return {name.removeprefix("val/"): value for name, value in found.items()}
