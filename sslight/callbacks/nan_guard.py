"""Stop at a loss that is not finite, naming the step and keeping its images' indices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.functional import pad

from sslight.callbacks._common import say
from sslight.distributed import all_gather
from sslight.strategies import is_logging_step
from sslight.utils import write_atomically

#: Epoch and batch share one number on the device: epoch * _EPOCH + batch.
_EPOCH = 2**32
_NEVER = 2**62


class NonFiniteLossError(RuntimeError):
    """A training loss was nan or infinite."""


class NanGuard(pl.Callback):
    """Find the first step whose loss is nan or infinite, on any rank.

    The step, and the batch's indices, are kept on the device without waiting for it; they are read
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
        self._found: Tensor | None = None  # [step, place] of the first bad micro-batch
        self._index: Tensor | None = None  # its dataset indices
        self._loss: Tensor | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forget an earlier fit."""
        self._found = self._index = self._loss = None
        self._clean = True

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
        """Keep the first bad step on the device; read it on logging steps."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor):
            index = batch.get("index") if isinstance(batch, dict) else None
            self._note(loss.detach().float(), trainer.current_epoch * _EPOCH + batch_idx, index)
        if is_logging_step(trainer):
            self._read(trainer, pl_module)

    def _note(self, loss: Tensor, place: int, index: Tensor | None) -> None:
        if index is None:
            index = torch.empty(0, dtype=torch.int64, device=loss.device)
        if self._found is None or self._loss is None:
            self._found = torch.full((2,), _NEVER, dtype=torch.int64, device=loss.device)
            self._loss = torch.zeros_like(loss)
        first = ~loss.isfinite() & (self._found[0] == _NEVER)
        here = torch.stack(
            [torch.full_like(self._found[0], self._step), torch.full_like(self._found[0], place)]
        )
        self._found = torch.where(first, here, self._found)
        self._loss = torch.where(first, loss, self._loss)
        kept = index if self._index is None else self._index
        length = max(len(index), len(kept))  # a plain loader's last batch may be shorter
        self._index = torch.where(first, _padded(index, length), _padded(kept, length))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read what came after the last logging step."""
        self._read(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Read before a checkpoint is written."""
        self._read(trainer, pl_module)

    def _read(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._found is None or self._index is None or self._loss is None:
            return
        found = all_gather(self._found[None])
        steps = found.tolist()  # [W, 2]; the host waits here
        step, place = min((s, p) for s, p in steps)
        if step == _NEVER:
            self._clean = True
            return
        report = {
            "step": step,
            "epoch": place // _EPOCH,
            "batch": place % _EPOCH,
            "loss": str(float(self._loss)),
            "index": self._indices([pair == [step, place] for pair in steps]),
            "seed": getattr(pl_module, "seed", None),
        }
        onset, self._clean = self._clean, False
        self._found = self._index = self._loss = None
        if onset:
            self._tell(trainer, report)

    def _indices(self, bad: list[bool]) -> dict[str, list[int]]:
        """Dataset indices of the bad micro-batch on each rank whose loss was not finite."""
        index = self._index if self._index is not None else torch.empty(0)
        rows = all_gather(index).view(len(bad), -1).tolist()
        return {str(rank): [i for i in row if i >= 0] for rank, row in enumerate(rows) if bad[rank]}

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


def _padded(index: Tensor, length: int) -> Tensor:
    return pad(index, (0, length - len(index)), value=-1)
