"""Stop at a loss that is not finite, naming the step and keeping its images' indices."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor

from sslight.callbacks._common import say
from sslight.distributed import all_gather
from sslight.strategies import is_logging_step
from sslight.utils import write_atomically

#: Losses kept before the host looks at them even without a logging step.
_MOST = 1024


class NonFiniteLossError(RuntimeError):
    """A training loss was nan or infinite."""


@dataclass(frozen=True)
class _Seen:
    """A micro-batch whose loss nobody has looked at."""

    loss: Tensor
    index: Tensor | None
    step: int
    epoch: int
    batch: int


class NanGuard(pl.Callback):
    """Find the first step whose loss is nan or infinite, on any rank.

    Losses stay on the device, in a list, and nothing is computed from them; they are read together
    on logging steps, at the end of an epoch and before a checkpoint is written, so that no
    checkpoint holds spoiled weights. ``nan_step_<k>.json`` in the run's folder then names the step
    (counted from 1, as in the logs), the epoch, the micro-batch and the dataset indices in it, rank
    by rank.

    Args:
        action: ``stop`` raises an error; ``warn`` says it once per onset and goes on.
    """

    def __init__(self, action: Literal["stop", "warn"] = "stop") -> None:
        if action not in ("stop", "warn"):
            raise ValueError(f"callback nan_guard: action={action!r}; give stop or warn.")
        self.action = action
        self._step = 0
        self._clean: bool = True  # the last reading found nothing
        self._unread: list[_Seen] = []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forget an earlier fit."""
        self._unread, self._clean = [], True

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the step this micro-batch belongs to: the one after all finished ones."""
        self._step = trainer.global_step + 1

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Keep the loss; read on logging steps."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor):
            index = batch.get("index") if isinstance(batch, dict) else None
            where = self._step, trainer.current_epoch, batch_idx
            self._unread.append(_Seen(loss.detach(), index, *where))
        if is_logging_step(trainer) or len(self._unread) >= _MOST:
            self._read(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read what came after the last logging step."""
        self._read(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Read before a checkpoint is written."""
        self._read(trainer, pl_module)

    def _read(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        seen, self._unread = self._unread, []
        if not seen:
            return
        losses = torch.stack([one.loss.float() for one in seen])  # [micro-batches since]
        flags = all_gather(~losses.isfinite()[None]).tolist()  # [W, n]; the host waits here
        bad = next((k for k, column in enumerate(zip(*flags, strict=True)) if any(column)), None)
        if bad is None:
            self._clean = True
            return
        onset, self._clean = self._clean, False
        ranks = [rank for rank, row in enumerate(flags) if row[bad]]
        first = seen[bad]
        report = {
            "step": first.step,
            "epoch": first.epoch,
            "batch": first.batch,
            "loss": str(all_gather(losses[bad : bad + 1]).tolist()[ranks[0]]),
            "index": _indices(first, len(flags), ranks),
            "seed": getattr(pl_module, "seed", None),
        }
        if onset:
            self._tell(trainer, report)

    def _tell(self, trainer: pl.Trainer, report: dict[str, Any]) -> None:
        path = Path(trainer.default_root_dir) / f"nan_step_{report['step']}.json"
        if trainer.is_global_zero:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(report, indent=1).encode())
        message = (
            f"The loss was not finite at step {report['step']} (epoch {report['epoch']}, batch "
            f"{report['batch']}, rank {', '.join(report['index'])}). Its images' dataset indices "
            f"are in {path}. Lower optim.lr, lengthen optim.warmup_epochs, clip gradients "
            "(trainer.gradient_clip_val), or train in trainer.precision: bf16-mixed or 32-true."
        )
        if self.action == "stop":
            raise NonFiniteLossError(message)
        say(trainer, message)


def _indices(seen: _Seen, world: int, ranks: list[int]) -> dict[str, list[int]]:
    """Dataset indices of a micro-batch on each of the ranks whose loss was not finite."""
    if seen.index is None:
        return {str(rank): [] for rank in ranks}
    rows = all_gather(seen.index).view(world, -1).tolist()
    return {str(rank): rows[rank] for rank in ranks}
