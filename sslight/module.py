"""SSLModule: what every self-supervised method has in common, and nothing else.

A method subclasses it, builds its modules in ``__init__`` and writes ``training_loss``. The base
owns the loop's mechanics: steps, schedules, logging, the clock and the tick of everything that
moves after an optimizer step.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, cast

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sslight import strategies
from sslight.augment.draws import seed_of
from sslight.backbones.protocol import as_backbone
from sslight.bookkeeping import (
    LossWindow,
    large_buffers,
    row_step,
    share_large_buffers,
    ticking,
    training_length,
    warn_of_accumulation,
)
from sslight.checks import check_batch, check_tokens
from sslight.class_metrics import update_metrics
from sslight.distributed import mean_over_ranks, rank
from sslight.optim import Recipe, apply_freeze, apply_schedules, build_optimizer, parameter_groups
from sslight.schedules import Clock
from sslight.train_steps import TrainStep, get_train_step
from sslight.types import Batch, StepOutput

__all__ = ["Batch", "SSLModule", "StepOutput"]

#: Hooks that the data path owns, and what a method overrides instead.
_NOT_YOURS = {"on_after_batch_transfer": "prepare_batch(batch)"}


class SSLModule(pl.LightningModule):
    """Base of all methods.

    Must be written by a subclass: ``__init__`` (calling ``super().__init__(backbone, optim)``) and
    :meth:`training_loss`. May be overridden: :attr:`eval_backbone`, :meth:`before_epoch`,
    :meth:`predict`, :meth:`param_groups`, :meth:`prepare_batch`, :meth:`on_data` and any hook of
    Lightning (call ``super()`` in ``setup``, ``on_fit_start`` and ``optimizer_step``).

    Args:
        backbone: A backbone, or any ``nn.Module`` that maps images to vectors.
        optim: The optimisation recipe; the default is SGD with a cosine schedule.
    """

    #: Keys of the batch that ``training_loss`` reads; the first batch is checked against them.
    needs: ClassVar[tuple[str, ...]] = ("views",)
    #: Whether ``training_loss`` reads patch tokens, so that the backbone must be a transformer.
    needs_tokens: ClassVar[bool] = False
    #: Whether accumulating micro-batches equals one large batch for this method's loss.
    accumulation: ClassVar[Literal["exact", "approximate"]] = "exact"
    #: The view preset used when the data module names none.
    default_views: ClassVar[str] = "simclr"
    #: Whether training keeps channels innermost in memory: the same numbers up to rounding.
    channels_last: bool = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse hooks that would be ignored silently."""
        super().__init_subclass__(**kwargs)
        for hook, instead in _NOT_YOURS.items():
            if hook in vars(cls):
                raise TypeError(
                    f"{cls.__name__}.{hook} would never run: SSLDataModule owns that hook. "
                    f"Override {instead} instead; it is called on the device, after augmentation."
                )

    backbone: Any  # a Backbone: embed_dim, forward, and tokens where it has them

    def __init__(self, backbone: nn.Module, optim: Recipe | None = None) -> None:
        super().__init__()
        self.backbone = as_backbone(backbone)
        check_tokens(type(self).__name__, self.backbone, self.needs_tokens)
        self.recipe = optim or Recipe()
        self.train_step: TrainStep = get_train_step("standard")
        self.metrics = nn.ModuleDict()
        self._seed: int | None = None
        self._steps: tuple[int, int] | None = None  # total, per epoch
        self._window = LossWindow()
        self._sharded = False

    # ---------------------------------------------------------------- what a method writes

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the loss of one (micro-)batch."""
        raise NotImplementedError(f"{type(self).__name__} must write training_loss(batch).")

    @property
    def eval_backbone(self) -> nn.Module:
        """The backbone that embed, probes, kNN, extract and export use."""
        return cast(nn.Module, self.backbone)

    def before_epoch(self, clock: Clock) -> None:
        """Run before the first batch of each epoch; put results in persistent buffers."""

    def on_data(self, num_images: int | None, num_classes: int | None) -> None:
        """Receive facts of the training data, before weights are loaded; build what needs them."""

    def prepare_batch(self, batch: Batch) -> Batch:
        """Change a batch on the device, after augmentation and before ``training_loss``."""
        return batch

    def param_groups(self) -> list[dict[str, Any]]:
        """Group the trainable parameters for the optimizer; by default as the recipe says."""
        return parameter_groups(self, self.recipe)

    # ---------------------------------------------------------------- facts of the run

    @property
    def clock(self) -> Clock:
        """Where training stands: ``step`` counts finished optimizer steps from 0."""
        if self._steps is None:
            self._steps = training_length(self.trainer)
        total, per_epoch = self._steps
        return Clock(step=self.trainer.global_step, total=total, per_epoch=per_epoch)

    @property
    def seed(self) -> int:
        """The seed of everything drawn during training; the data module's unless set."""
        if self._seed is not None:
            return self._seed
        return int(getattr(self._datamodule, "seed", 0))

    @seed.setter
    def seed(self, value: int) -> None:
        self._seed = value

    @property
    def _datamodule(self) -> Any:
        return getattr(self._trainer, "datamodule", None) if self._trainer is not None else None

    def global_batch_size(self) -> int:
        """Images per optimizer step, over all ranks and accumulated micro-batches."""
        data = self._datamodule
        if hasattr(data, "global_batch_size"):
            return int(data.global_batch_size("train"))
        if self.recipe.scale_lr is None:
            return self.recipe.base_batch_size  # nothing depends on it
        micro = strategies.plain_batch_size(self.trainer)
        return micro * self.trainer.world_size * self.trainer.accumulate_grad_batches

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # no graph can hold a generator
    def shared_generator(self, tag: int = 0) -> torch.Generator:
        """A CPU generator seeded from (seed, batches done, tag): the same draws on every rank."""
        done = strategies.batches_done(self.trainer)
        return torch.Generator().manual_seed(seed_of(self.seed, done, tag, 1))

    def dataset_features(self, split: str = "train", rows: np.ndarray | None = None) -> Tensor:
        """Embed a whole split in its clean view: ``[N, D]`` float32 on the CPU, dataset order.

        The work is sharded over ranks and every rank receives all rows, or those of ``rows``.
        """
        from sslight.features.compute import dataset_features

        data, backbone = self._datamodule, self.eval_backbone
        with strategies.gathered(backbone):
            return dataset_features(backbone, data, split, device=self.device, rows=rows)

    # ---------------------------------------------------------------- Lightning's hooks

    def setup(self, stage: str) -> None:
        """Hand the data's facts to the method, once, before weights are loaded."""
        data = self._datamodule
        strategies.seed_device(seed_of(self.seed, 5), torch.device("cpu"))
        self.on_data(getattr(data, "num_train_images", None), getattr(data, "num_classes", None))
        # What DDP's own _set_params_and_buffers_to_ignore_for_model sets.
        self._ddp_params_and_buffers_to_ignore = large_buffers(self)
        if self.trainer.precision == "64-true":
            self.double()  # Lightning converts after restoring, which would round a checkpoint
        if self.channels_last:
            strategies.interleave_channels(self)
        if self.trainer.accumulate_grad_batches > 1 and self.accumulation == "approximate":
            warn_of_accumulation(type(self).__name__)

    def configure_model(self) -> None:
        """Shard every child over the ranks when the strategy brings a device mesh (FSDP2)."""
        if self.device_mesh is None or self._sharded:
            return
        strategies.shard_children(self)
        self._sharded = True

    def configure_optimizers(self) -> Optimizer:
        """Build the one optimizer; learning rates follow pure functions of the clock."""
        batch_size = self.global_batch_size()
        optimizer = build_optimizer(self.param_groups(), self.recipe, batch_size=batch_size)
        apply_schedules(optimizer, self.recipe, self.clock, batch_size=batch_size)
        return optimizer

    def on_fit_start(self) -> None:
        """Make queues and banks equal on all ranks, as DDP makes weights and other buffers."""
        share_large_buffers(self)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor | None]:
        """Run the train step on one micro-batch, seeded so that a resumed run draws the same."""
        done = strategies.batches_done(self.trainer)
        strategies.seed_device(seed_of(self.seed, done, rank(), 0), self.device)
        if batch_idx == 0:
            check_batch(type(self).__name__, batch, self.needs, self.default_views)
            self.before_epoch(self.clock)
        output = self.train_step(self, self.prepare_batch(batch))
        self._log_step(output)
        embedding = None if output.embedding is None else output.embedding.detach()
        return {"loss": output.loss, "embedding": embedding}

    def _log_step(self, output: StepOutput) -> None:
        """Log on logging steps only; the loss is the mean over accumulation window and ranks."""
        loss = self._window.add(output.loss, self.trainer.accumulate_grad_batches)
        if strategies.is_accumulating(self.trainer):
            return
        self._window.clear()
        if not strategies.is_logging_step(self.trainer):
            return
        values = {"train/loss": loss, **{f"train/{k}": v for k, v in output.logs.items()}}
        values = {name: mean_over_ranks(value.detach().float()) for name, value in values.items()}
        lr = self.recipe.scaled_lr(self.global_batch_size())(self.clock)
        values["train/lr"] = torch.tensor(lr, dtype=torch.float64)
        self.log_dict({**values, "step": row_step(self.trainer.global_step + 1)})

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None
    ) -> None:
        """Set the schedules' values, step, then tick every submodule that moves by itself."""
        clock, inner = self.clock, getattr(optimizer, "optimizer", optimizer)
        apply_schedules(inner, self.recipe, clock, batch_size=self.global_batch_size())

        def closure() -> Any:
            result = optimizer_closure() if optimizer_closure is not None else None
            apply_freeze(inner, clock)
            return result

        super().optimizer_step(epoch, batch_idx, optimizer, closure)
        for module in ticking(self):
            module.after_step(clock)

    def on_train_epoch_end(self) -> None:
        """Give what callbacks log here the number of finished optimizer steps."""
        self.log("step", row_step(self.trainer.global_step))

    # ---------------------------------------------------------------- evaluation

    @property
    def predicts(self) -> bool:
        """Whether the method has ``predict(images) -> logits``."""
        return callable(getattr(self, "predict", None))

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Feed ``self.metrics`` where the method predicts; embed where a probe wants it."""
        images = batch["views"][0]
        label = batch.get("label")
        if self.predicts and self.metrics and label is not None and len(images):
            update_metrics(self.metrics, self.predict(images), label)  # type: ignore[operator]
        embedding = self.eval_backbone(images) if self._probed and len(images) else None
        return {"embedding": embedding, "label": label, "index": batch.get("index")}

    @property
    def _probed(self) -> bool:
        callbacks = getattr(self.trainer, "callbacks", [])
        return any(getattr(callback, "needs_embeddings", False) for callback in callbacks)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics under the number of finished optimizer steps."""
        self.log("step", row_step(self.trainer.global_step))
        for name, metric in self.metrics.items():
            seen = torch.tensor(float(cast(Any, metric).update_called), device=self.device)
            if mean_over_ranks(seen) > 0:  # every rank decides alike: computing is collective
                self.log(f"val/{name}", cast(Any, metric).compute())
            cast(Any, metric).reset()

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Evaluate as in validation (``Trainer.test``)."""
        return self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log the metrics of ``Trainer.test``."""
        self.on_validation_epoch_end()

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Give logits where the method predicts, embeddings otherwise (``Trainer.predict``)."""
        images = batch["views"][0]
        if self.predicts:
            return self.predict(images)  # type: ignore[operator,no-any-return]
        return cast(Tensor, self.eval_backbone(images))

    def forward(self, images: Tensor) -> Tensor:
        """Embed images ``[B, C, H, W]`` with :attr:`eval_backbone` into ``[B, D]``."""
        return cast(Tensor, self.eval_backbone(images))
