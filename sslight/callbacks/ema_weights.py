"""An averaged copy of the model's weights, kept beside training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sslight.losses.precision import widened


class EmaWeights(pl.Callback):
    """Average the weights over training steps: ``average <- lerp(average, weights, 1 - decay)``.

    Averaged are all trainable parameters, all parameters of ``eval_backbone`` (which may be a
    teacher) and the running statistics of batch norm; other buffers (queues, centers) are left
    alone. Training never sees the copy, which is float32 or better: a small step is lost in weights
    of 16 bits. The copy is part of checkpoints; at the end of training the averaged
    ``eval_backbone`` is written to ``backbone_ema.safetensors`` in the run's folder.

    Args:
        decay: Weight of the old average at each update.
        warm_up: Use ``min(decay, (1 + n) / (10 + n))`` at update n, so that the random start is
            forgotten soon.
        every_n_steps: Optimizer steps between updates.
        evaluate: Use the average in validation and for kNN; the weights are put back afterwards,
            bit for bit, also when validation fails.
    """

    def __init__(
        self,
        decay: float = 0.999,
        warm_up: bool = True,
        every_n_steps: int = 1,
        evaluate: bool = False,
    ) -> None:
        if not 0 <= decay < 1 or every_n_steps < 1:
            raise ValueError(
                f"callback ema_weights: got decay={decay} and every_n_steps={every_n_steps}; give "
                "0 <= decay < 1 and every_n_steps >= 1."
            )
        self.decay = decay
        self.warm_up = warm_up
        self.every_n_steps = every_n_steps
        self.evaluate = evaluate
        self.updates = 0
        self._average: dict[str, Tensor] = {}
        self._restored: dict[str, Tensor] | None = None
        self._last_step = 0
        self._swapped: ExitStack | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the average (gathered if sharded) and the number of updates."""
        average = {name: _whole(value) for name, value in self._average.items()}
        return {"average": average, "updates": self.updates, "last_step": self._last_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the average; it moves to the device when training starts."""
        self._restored = state_dict["average"]
        self.updates, self._last_step = state_dict["updates"], state_dict["last_step"]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forget an earlier fit; the state of a resumed one is loaded after this."""
        if stage == "fit":
            self._average, self._restored, self.updates, self._last_step = {}, None, 0, 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Copy the weights, or take up the restored average."""
        weights = _averaged(pl_module)
        self._average = {name: widened(value.clone()) for name, value in weights.items()}
        if self._restored:
            _check_names(self._restored, self._average)
            for name, value in self._restored.items():
                self._average[name].copy_(_like(value, self._average[name]))
        elif not self.updates:
            self._last_step = trainer.global_step
        self._restored = None

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Update the average after each due optimizer step."""
        step = trainer.global_step
        if step == self._last_step or step % self.every_n_steps:
            return
        self._last_step = step
        self.updates += 1
        decay = self.decay
        if self.warm_up:
            decay = min(decay, (1 + self.updates) / (10 + self.updates))
        now = _averaged(pl_module)
        with torch.no_grad():
            weights = [widened(value) for value in now.values()]
            torch._foreach_lerp_(list(self._average.values()), weights, 1 - decay)

    @contextmanager
    def swapped(self, pl_module: pl.LightningModule) -> Iterator[None]:
        """Put the average into the module for a while; nested use changes nothing."""
        if not self._average or self._swapped is not None:
            yield
            return
        weights = _averaged(pl_module)
        kept = [value.clone() for value in weights.values()]
        try:
            _copy(list(weights.values()), list(self._average.values()))
            yield
        finally:
            _copy(list(weights.values()), kept)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Swap the average in."""
        if self.evaluate and self._average and not trainer.sanity_checking:
            stack = ExitStack()
            stack.enter_context(self.swapped(pl_module))
            self._swapped = stack

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the weights back."""
        self._put_back()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Put the weights back when validation fails."""
        self._put_back()

    def _put_back(self) -> None:
        stack, self._swapped = self._swapped, None
        if stack is not None:
            stack.close()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the averaged backbone."""
        from sslight.checkpoints import save_backbone

        backbone = getattr(pl_module, "eval_backbone", None)
        if backbone is None or not self._average:
            return
        path = Path(trainer.default_root_dir) / "backbone_ema.safetensors"
        meta = {
            "weights": "ema",
            "decay": self.decay,
            "updates": self.updates,
            "step": trainer.global_step,
        }
        data: Any = getattr(trainer, "datamodule", None)
        view = data.clean_view() if hasattr(data, "clean_view") else None
        with self.swapped(pl_module):
            if trainer.is_global_zero:
                save_backbone(backbone, path, meta, view=view)


@contextmanager
def evaluation_weights(trainer: pl.Trainer, pl_module: pl.LightningModule) -> Iterator[None]:
    """Hold the weights that evaluation should see: the average where one is evaluated."""
    callbacks = getattr(trainer, "callbacks", [])
    averages = [c for c in callbacks if isinstance(c, EmaWeights) and c.evaluate]
    with averages[0].swapped(pl_module) if averages else ExitStack():
        yield


def _averaged(module: nn.Module) -> dict[str, Tensor]:
    """Name what is averaged: parameters, and batch norm's running statistics."""
    teacher = getattr(module, "eval_backbone", None)
    always = {id(p) for p in teacher.parameters()} if isinstance(teacher, nn.Module) else set()
    found = {
        name: p.detach()
        for name, p in module.named_parameters()
        if p.requires_grad or id(p) in always
    }
    for prefix, child in module.named_modules():
        if isinstance(child, _BatchNorm) and child.running_mean is not None:
            found[f"{prefix}.running_mean"] = child.running_mean
            found[f"{prefix}.running_var"] = child.running_var  # type: ignore[assignment]
    return found


def _copy(targets: list[Tensor], sources: list[Tensor]) -> None:
    with torch.no_grad():
        torch._foreach_copy_(targets, sources)


def _whole(value: Any) -> Tensor:
    """Gather a sharded tensor (every rank must call); others pass."""
    whole: Tensor = value.full_tensor() if hasattr(value, "full_tensor") else value
    return whole


def _like(value: Tensor, target: Any) -> Tensor:
    if not hasattr(target, "full_tensor"):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(target.device), target.device_mesh, target.placements)


def _check_names(restored: dict[str, Tensor], current: dict[str, Tensor]) -> None:
    differ = sorted(restored.keys() ^ current.keys())
    if differ:
        raise ValueError(
            f"callback ema_weights: the checkpoint's average and the model differ in {differ[:5]} "
            f"({len(differ)} names). Resume with the model it was saved with, or remove "
            "callbacks.ema_weights."
        )
