"""The classic linear protocol: augmented images, a frozen backbone, several layers at once."""

from __future__ import annotations

import time

import torch

from sslight.backbones.layer_heads import LayerHeads, classic_heads
from sslight.errors import refusing
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


class LinearImages:
    """Linear classification of augmented images, through the frozen backbone, layer by layer.

    The protocol of Goyal et al. (2019, arXiv:1905.01235) as VISSL runs it: random crops and flips,
    the backbone in eval mode, and on each layer a batch norm and a linear layer over a pooled map
    of about 9000 numbers; all heads are trained in one run of ``supervised``, their losses summed.
    By default the layers are a ResNet's five stages and its output, a transformer's blocks at each
    quarter of its depth and its output, with and without batch norm, else the output alone; maps
    are averaged over as fine a grid as gives no more than 9216 numbers. The last epoch's heads are
    measured: nothing is chosen on the test split.

    Args:
        heads: Layers, as ``heads`` of ``supervised``; VISSL's own map of a ResNet-50 at 224 px is
            in ``eval/imagenet``.
        epochs: Passes over the images.
        batch_size: Images per step, over all devices.
        lr: Learning rate for 256 images per step, scaled with the batch.
        milestones: Epochs from which it is a tenth; default VISSL's 8, 16 and 24 of 28 epochs.
        weight_decay: Weight decay of the linear layers.
        optim: A whole recipe, in place of ``lr``, ``milestones`` and ``weight_decay``.
        scale: Range of a training crop's area.
        image_size: Side of the views; default the backbone's evaluation view.
        train: Split to train on.
        test: Split to measure on.
        seed: Of order, crops and heads.
    """

    def __init__(
        self,
        *,
        heads: dict[str, str] | list[str] | None = None,
        epochs: int = 28,
        batch_size: int = 256,
        lr: float = 0.01,
        milestones: list[float] | None = None,
        weight_decay: float = 5e-4,
        optim: Recipe | None = None,
        scale: tuple[float, float] = (0.08, 1.0),
        image_size: int | None = None,
        train: str = "train",
        test: str = "test",
        seed: int = 0,
    ):
        check_split("linear_images", train, test, epochs, batch_size)
        steps = [epochs * at / 28 for at in (8, 16, 24)] if milestones is None else milestones
        self.optim = optim or stepped(lr, steps, weight_decay)
        self.heads, self.epochs, self.batch_size = heads, epochs, batch_size
        self.scale, self.image_size = scale, image_size
        self.train, self.test, self.seed = train, test, seed

    def evaluate(self, subject: Subject) -> Result:
        """Accuracy, or mean average precision, of each layer's head on the test split."""
        start = time.perf_counter()
        backbone = subject.backbone
        labels = known_labels(subject, self.train, "linear_images")
        tested = known_labels(subject, self.test, "linear_images")
        seen = views(subject, self.image_size, self.scale)
        size = seen[1].size
        heads = self.heads or classic_heads(backbone, size)
        with refusing(ValueError), torch.device("meta"):
            LayerHeads(backbone, heads, size, 2)  # that they fit is seen before a run begins
        training = Training(
            method={"frozen": True, "heads": heads, "image_size": size,
                    "multi_label": labels.ndim == 2},
            optim=self.optim, epochs=self.epochs,
            batch_size=fitting_batch(self.batch_size, len(labels)),
            train=self.train, test=self.test, seed=self.seed, views=seen,
        )  # fmt: skip
        trained = subject.train("linear_images", training)
        by_head: dict[str, dict[str, float]] = {}
        for name, value in trained.metrics.items():
            head, _, figure = name.rpartition("/")
            by_head.setdefault(head, {})[figure] = value
        return with_intervals(Result(
            "linear_images",
            metrics=trained.metrics,
            options={"heads": heads, "epochs": self.epochs, "batch_size": training.batch_size,
                     "optim": str(self.optim), "image_size": size, "train": self.train,
                     "test": self.test, "seed": self.seed, "run": str(trained.folder)},
            n=num_known(tested),
            seconds=time.perf_counter() - start,
            rows=[{"layer": head, **figures} for head, figures in by_head.items()],
        ))  # fmt: skip
