"""Histograms of parameters, gradients and activations in TensorBoard."""

from __future__ import annotations

import re
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sslight.callbacks._common import switch_off
from sslight.strategies import is_accumulating

#: Most numbers of an activation that are kept for its histogram.
_MOST = 100_000


class Histograms(pl.Callback):
    r"""Draw histograms at optimizer steps n, 2n, ...

    Values that are not finite are left out; sharded tensors are drawn whole.

    Tags are ``parameters/<name>``, ``gradients/<name>`` (before clipping; the mean over ranks) and
    ``activations/<module>`` (of rank 0, the last micro-batch or chunk; an even sample of at most
    100,000 numbers).

    Args:
        every_n_steps: Optimizer steps between drawings.
        parameters: Draw parameters.
        gradients: Draw gradients.
        activations: Regular expression; draw the outputs of the modules whose full name it matches
            anywhere, such as ``^backbone\.layer\d$``. None for no activations.
    """

    def __init__(
        self,
        every_n_steps: int = 500,
        parameters: bool = True,
        gradients: bool = True,
        activations: str | None = None,
    ) -> None:
        if every_n_steps < 1:
            raise ValueError(
                f"callback histograms: got every_n_steps={every_n_steps}; give a number from 1."
            )
        self.every_n_steps = every_n_steps
        self.parameters = parameters
        self.gradients = gradients
        self.activations = re.compile(activations) if activations is not None else None
        self.off = False
        self._hooks: list[RemovableHandle] = []
        self._outputs: dict[str, Tensor] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check that there is something to draw, and where."""
        self.off = False
        if not _boards(trainer):
            switch_off(self, trainer, "there is no TensorBoardLogger to draw to.")
        if self.activations is not None and not self._watched(pl_module):
            names = [name for name, _ in pl_module.named_modules() if name]
            raise ValueError(
                f"callback histograms: activations='{self.activations.pattern}' matches no module. "
                f"There are: {', '.join(names[:12])} ..."
            )

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Watch the modules' outputs in the batches of a due step."""
        if self.activations is None or not self._due(trainer.global_step + 1):
            return
        if trainer.is_global_zero:
            self._unhook()
            for name, module in self._watched(pl_module).items():
                self._hooks.append(module.register_forward_hook(self._keep(name)))

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Draw the gradients."""
        step = trainer.global_step + 1
        if self.gradients and self._due(step):
            named = pl_module.named_parameters()
            self._draw(trainer, "gradients", {n: p.grad for n, p in named if p.grad is not None})

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Draw the parameters after the step, and the outputs seen on the way."""
        if is_accumulating(trainer) or not self._due(trainer.global_step):
            return
        self._unhook()
        if self.parameters:
            self._draw(trainer, "parameters", dict(pl_module.named_parameters()), done=True)
        self._draw(trainer, "activations", self._outputs, done=True)
        self._outputs = {}

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave no hook behind."""
        self._unhook()

    def _due(self, step: int) -> bool:
        return not self.off and step % self.every_n_steps == 0

    def _watched(self, module: nn.Module) -> dict[str, nn.Module]:
        pattern = self.activations
        if pattern is None:
            return {}
        return {n: m for n, m in module.named_modules() if n and pattern.search(n)}

    def _keep(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                flat = output.detach().flatten()
                self._outputs[name] = flat[:: -(-len(flat) // _MOST) or 1].clone()

        return hook

    def _unhook(self) -> None:
        for handle in self._hooks:
            handle.remove()
        self._hooks = []

    def _draw(
        self, trainer: pl.Trainer, kind: str, tensors: dict[str, Tensor], done: bool = False
    ) -> None:
        step = trainer.global_step + (0 if done else 1)
        for name, tensor in tensors.items():
            # Every rank takes part where a sharded tensor is put together.
            whole: Any = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
            if not trainer.is_global_zero:
                continue
            values = whole.detach().float().cpu().flatten()
            values = values[values.isfinite()]
            for board in _boards(trainer) if len(values) else ():
                board.experiment.add_histogram(f"{kind}/{name}", values, step)


def _boards(trainer: pl.Trainer) -> list[TensorBoardLogger]:
    return [sink for sink in trainer.loggers if isinstance(sink, TensorBoardLogger)]
