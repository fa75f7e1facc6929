"""Finetuning: the whole backbone is trained on with labels."""

from __future__ import annotations

import time

from sslight.eval._training import (
    Training,
    check_split,
    fitting_batch,
    known_labels,
    num_known,
    stepped,
    views,
    with_intervals,
)
from sslight.eval.base import Result, Subject
from sslight.optim import Recipe


class Finetune:
    """Classification by the whole network, trained from the backbone's weights.

    A run of ``supervised`` on a copy of the backbone: random crops and flips, a new linear head on
    the embedding. The defaults are VISSL's for ResNets on ImageNet; transformers want AdamW, layer
    decay and mixing: ``eval.finetune.optim={optimizer: adamw, lr: 1.0e-3, weight_decay: 0.05,
    warmup_epochs: 5, layer_decay: 0.75}`` with ``mixup: 0.8, cutmix: 1.0, label_smoothing: 0.1``.
    The last epoch's network is measured: nothing is chosen on the test split.

    Args:
        epochs: Passes over the images.
        batch_size: Images per step, over all devices.
        lr: Learning rate for 256 images per step, scaled with the batch.
        milestones: Epochs from which it is a tenth; default VISSL's 30, 60, 90 and 100 of 105.
        weight_decay: Weight decay.
        layer_decay: Factor per layer of depth on the backbone's learning rates.
        head_lr: Learning rate of the new head for 256 images; default ``lr``.
        optim: A whole recipe, in place of the five above.
        mixup: Alpha of mixup, 0 for none.
        cutmix: Alpha of CutMix, 0 for none.
        mix_prob: Probability that an image is mixed.
        label_smoothing: In [0, 1].
        scale: Range of a training crop's area.
        image_size: Side of the views; default the backbone's evaluation view.
        train: Split to train on.
        test: Split to measure on.
        seed: Of order, crops and head.
    """

    def __init__(
        self,
        *,
        epochs: int = 105,
        batch_size: int = 256,
        lr: float = 0.1,
        milestones: list[float] | None = None,
        weight_decay: float = 0.0,
        layer_decay: float | None = None,
        head_lr: float | None = None,
        optim: Recipe | None = None,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        mix_prob: float = 1.0,
        label_smoothing: float = 0.0,
        scale: tuple[float, float] = (0.08, 1.0),
        image_size: int | None = None,
        train: str = "train",
        test: str = "test",
        seed: int = 0,
    ):
        check_split("finetune", train, test, epochs, batch_size)
        shares = (30 / 105, 60 / 105, 90 / 105, 100 / 105)
        steps = [epochs * at for at in shares] if milestones is None else milestones
        self.optim = optim or stepped(
            lr, steps, weight_decay, layer_decay=layer_decay, head_lr=head_lr
        )
        self.method = {"mixup": mixup, "cutmix": cutmix, "mix_prob": mix_prob,
                       "label_smoothing": label_smoothing}  # fmt: skip
        self.epochs, self.batch_size = epochs, batch_size
        self.scale, self.image_size = scale, image_size
        self.train, self.test, self.seed = train, test, seed

    def evaluate(self, subject: Subject) -> Result:
        """Accuracy, or mean average precision, on the test split."""
        start = time.perf_counter()
        labels = known_labels(subject, self.train, "finetune")
        tested = known_labels(subject, self.test, "finetune")
        training = Training(
            method={**self.method, "multi_label": labels.ndim == 2},
            optim=self.optim, epochs=self.epochs,
            batch_size=fitting_batch(self.batch_size, len(labels)),
            train=self.train, test=self.test, seed=self.seed,
            views=views(subject, self.image_size, self.scale),
        )  # fmt: skip
        trained = subject.train("finetune", training)
        return with_intervals(Result(
            "finetune",
            metrics=trained.metrics,
            options={**self.method, "epochs": self.epochs, "batch_size": training.batch_size,
                     "optim": str(self.optim), "image_size": training.views[1].size,
                     "train": self.train, "test": self.test, "seed": self.seed,
                     "run": str(trained.folder)},
            n=num_known(tested),
            seconds=time.perf_counter() - start,
        ))  # fmt: skip
