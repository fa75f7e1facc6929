"""A linear classifier trained beside the method, on features it cannot influence."""

from __future__ import annotations

from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from sslight.callbacks._common import label_trouble, switch_off, total_over_ranks
from sslight.distributed import sum_over_ranks, world_size
from sslight.strategies import is_logging_step


class LinearProbe(pl.Callback):
    """Train a linear classifier on the detached embeddings of every training batch.

    It sees ``outputs["embedding"]`` ``[kB, D]`` (k views, crop-major; the batch's labels are
    repeated k times, -1 is ignored) and steps once per micro-batch. Weights start at zero, so
    nothing is drawn; they, the optimizer and its state live here and in this callback's checkpoint
    state, never in the module. Embeddings are standardised per dimension (a batch norm without
    parameters over the rows of all ranks; running statistics in evaluation) and divided by
    ``sqrt(D)``, so that one learning rate serves features of any scale and width. The loss is the
    mean over the labelled rows of all ranks. Weights and losses of training are the same, bit for
    bit, with the probe on or off.

    Logs ``probe/loss`` and ``probe/top1`` (this training batch, before the probe's step) on logging
    steps and ``probe/val_top1`` (evaluation embeddings of the test split) with validation.

    Args:
        lr: Learning rate; about 1 for ``sgd``, 0.1 for ``adamw``.
        optimizer: ``sgd`` or ``adamw``.
        momentum: Momentum of ``sgd``.
        weight_decay: Weight decay.
        num_classes: Number of classes; None to ask the data module.
    """

    #: The module computes validation embeddings where a callback asks for them.
    needs_embeddings = True

    def __init__(
        self,
        lr: float = 1.0,
        optimizer: Literal["sgd", "adamw"] = "sgd",
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        num_classes: int | None = None,
    ) -> None:
        if optimizer not in ("sgd", "adamw"):
            raise ValueError(f"callback linear_probe: optimizer={optimizer!r}; give sgd or adamw.")
        if lr <= 0 or (num_classes is not None and num_classes < 2):
            raise ValueError(
                f"callback linear_probe: got lr={lr} and num_classes={num_classes}; give lr > 0 "
                "and num_classes >= 2 (or null)."
            )
        self.lr = lr
        self.optimizer = optimizer
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.num_classes = num_classes
        self.off = False
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None
        self._classes: int | None = num_classes
        self._optimizer: torch.optim.Optimizer | None = None
        self._restored: dict[str, Any] | None = None
        self._moments: Tensor | None = None  # running mean and mean square, [2, D]
        self._updates = 0  # of the running moments
        self._right: Tensor | None = None  # validation: [right, counted]

    # ---------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """Return the classifier and its optimizer's state."""
        if self._optimizer is None or self.weight is None or self.bias is None:
            return self._restored or {}
        return {
            "weight": self.weight.detach(),
            "bias": self.bias.detach(),
            "moments": self._moments,
            "updates": self._updates,
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a classifier; it moves to the device with the first batch."""
        self._restored = state_dict or None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forget an earlier fit; the state of a resumed one is loaded after this."""
        if stage == "fit":
            self.weight = self.bias = self._optimizer = self._restored = None
            self._moments, self._updates = None, 0
            self.off = False

    def _create(self, width: int, device: torch.device) -> None:
        classes = self._classes or 0
        self.weight = torch.zeros(classes, width, device=device, requires_grad=True)
        self.bias = torch.zeros(classes, device=device, requires_grad=True)
        parameters = [self.weight, self.bias]
        if self.optimizer == "sgd":
            self._optimizer = torch.optim.SGD(
                parameters, self.lr, momentum=self.momentum, weight_decay=self.weight_decay
            )
        else:
            self._optimizer = torch.optim.AdamW(parameters, self.lr, weight_decay=self.weight_decay)
        if self._restored:
            self._load(self._restored)

    def _load(self, state: dict[str, Any]) -> None:
        if self.weight is None or self.bias is None or self._optimizer is None:
            return
        if state["weight"].shape != self.weight.shape:
            raise ValueError(
                f"callback linear_probe: the checkpoint's probe is {tuple(state['weight'].shape)}, "
                f"this run's (classes, width) is {tuple(self.weight.shape)}. Resume with the same "
                "data and backbone, or remove callbacks.linear_probe."
            )
        with torch.no_grad():
            self.weight.copy_(state["weight"])
            self.bias.copy_(state["bias"])
        self._moments = state["moments"].to(self.weight.device)
        self._updates = state["updates"]
        self._optimizer.load_state_dict(state["optimizer"])
        self._restored = None

    # ---------------------------------------------------------------- training

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Switch off, saying why, where labels or their number are missing."""
        data: Any = getattr(trainer, "datamodule", None)
        reason = None
        if hasattr(data, "labels") and hasattr(data, "split_names"):
            reason = label_trouble(data.labels("train"), "train")
            self._classes = self.num_classes or data.num_classes
        if reason is None and not self._classes:
            reason = "the number of classes is unknown; give num_classes or an SSLDataModule."
        if reason:
            switch_off(self, trainer, reason)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Take one step of the probe on this batch's embeddings."""
        if self.off:
            return
        embedding = outputs.get("embedding") if isinstance(outputs, dict) else None
        label = batch.get("label") if isinstance(batch, dict) else None
        if embedding is None or label is None or label.ndim != 1:
            switch_off(self, trainer, _absence(embedding, label))
            return
        features = embedding.detach().float().flatten(1)
        target = label.long().repeat(len(features) // len(label))
        loss, right = self._step(features, target)
        if is_logging_step(trainer):
            pl_module.log_dict({"probe/loss": loss, "probe/top1": right})

    def _step(self, features: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Descend on the mean loss over all ranks' labelled rows; return it and the accuracy."""
        if self._optimizer is None:
            self._create(features.shape[1], features.device)
        weight, bias = self._parameters()
        features = _standardised(features, self._update_moments(features))
        with torch.enable_grad(), torch.autocast(features.device.type, enabled=False):
            logits = linear(features, weight, bias)
            loss = cross_entropy(logits, target, ignore_index=-1, reduction="sum")
            grads = torch.autograd.grad(loss, [weight, bias])
        facts = torch.stack(
            [(target >= 0).sum(), (logits.argmax(1) == target).sum(), loss.detach()]
        ).float()
        whole = torch.cat([*(grad.flatten() for grad in grads), facts])
        whole = sum_over_ranks(whole)
        count = whole[-3].clamp_min(1)
        weight.grad = (whole[: weight.numel()] / count).view_as(weight)
        bias.grad = (whole[weight.numel() : -3] / count).view_as(bias)
        if self._optimizer is not None:
            self._optimizer.step()
        return whole[-1] / count, whole[-2] / count

    def _update_moments(self, features: Tensor) -> Tensor:
        """Return mean and mean square over all ranks' rows, and move the running ones there."""
        sums = torch.stack([features.sum(0), features.square().sum(0)])
        moments = sum_over_ranks(sums) / (len(features) * world_size())
        self._updates += 1
        if self._moments is None:
            self._moments = moments
        else:  # a plain mean at first, an exponential one later
            self._moments = self._moments.lerp(moments, max(0.1, 1 / self._updates))
        return moments

    def _parameters(self) -> tuple[Tensor, Tensor]:
        if self.weight is None or self.bias is None:
            raise RuntimeError("The probe has no weights before its first training batch.")
        return self.weight, self.bias

    # ---------------------------------------------------------------- validation

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start counting."""
        self._right = None

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count right answers among labelled, readable images of the first validation split."""
        if self.off or self.weight is None or trainer.sanity_checking or dataloader_idx:
            return
        found = outputs if isinstance(outputs, dict) else {}
        embedding, label = found.get("embedding"), found.get("label")
        if embedding is None or label is None or label.ndim != 1:
            return
        features = embedding.float().flatten(1)
        if self._moments is not None:
            features = _standardised(features, self._moments)
        with torch.autocast(features.device.type, enabled=False):
            guess = linear(features, *self._parameters()).argmax(1)
        counted = (label >= 0) & features.isfinite().all(dim=1)
        counts = torch.stack([((guess == label) & counted).sum(), counted.sum()])
        self._right = counts if self._right is None else self._right + counts

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the accuracy over all ranks."""
        if self.off or self.weight is None or trainer.sanity_checking:
            return
        counts = self._right if self._right is not None else torch.zeros(2, dtype=torch.int64)
        right, counted = total_over_ranks(counts, pl_module.device).tolist()
        self._right = None
        if counted:
            pl_module.log("probe/val_top1", right / counted, batch_size=1)


def _standardised(features: Tensor, moments: Tensor) -> Tensor:
    """Zero mean and unit variance per dimension, then rows of length one on average."""
    mean, square = moments
    variance = (square - mean.square()).clamp_min(0) + 1e-5 * square + 1e-12
    scaled: Tensor = (features - mean) / (variance * features.shape[1]).sqrt()
    return scaled


def _absence(embedding: Tensor | None, label: Tensor | None) -> str:
    if embedding is None:
        return "the method gives no embedding; return StepOutput(loss, embedding=...)."
    if label is None:
        return "the batch has no label."
    return "the batch has several labels per image, which it does not handle."
