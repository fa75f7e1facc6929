"""Supervised training: classes or multi-label, from scratch, finetuning, or a frozen backbone."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from sslight.backbones.layer_heads import LayerHeads
from sslight.checks import check_classes, check_labels
from sslight.class_metrics import class_metrics
from sslight.errors import RefusedRunError, refusing
from sslight.losses.classification import cross_entropy, multilabel_bce
from sslight.module import SSLModule
from sslight.modules.mix import Mix, mixed_targets
from sslight.modules.multicrop import forward_crops
from sslight.optim import Recipe
from sslight.types import Batch, StepOutput


class Supervised(SSLModule):
    """Classification with a linear head on the backbone's embedding.

    Softmax cross-entropy over labels ``[B]``, or, with ``multi_label``, binary cross-entropy over
    labels ``[B, K]`` in {1, 0, -1 ignored}. Unknown labels (-1) do not count, and the mean is over
    the known ones of all ranks. ``frozen`` gives the linear protocol: the backbone stays in eval
    mode and gets no gradient; with ``heads`` several layers are probed at once, and their losses
    summed. Mixup and CutMix as in :class:`sslight.modules.mix.Mix`.

    In a YAML: ``method: {name: supervised, label_smoothing: 0.1, mixup: 0.2}`` with views from
    ``{name: supervised}``. Validation reports top-1 and top-5 accuracy, or mean average precision.

    Args:
        backbone: Maps images to ``[B, D]``.
        optim: The optimisation recipe; its ``head_lr`` is for the head.
        num_classes: K; by default the training data's.
        multi_label: Labels are ``[B, K]``, any number of classes per image.
        label_smoothing: In [0, 1].
        mixup: Alpha of mixup, 0 for none.
        cutmix: Alpha of CutMix, 0 for none.
        mix_prob: Probability that an image is mixed.
        frozen: Train the head only.
        heads: Layers to put a linear head on, in place of the embedding, as in ``extract.layers``;
            ``res5: avg_k6_s1+bn`` has a batch norm before the linear layer. Metrics are by head.
        image_size: Side of the images in pixels, needed with ``heads``.

    Note:
        Micro-batches of an accumulated step weigh the same, however many of their labels are known.
    """

    needs: ClassVar[tuple[str, ...]] = ("views", "label")
    default_views: ClassVar[str] = "supervised"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        num_classes: int | None = None,
        multi_label: bool = False,
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        mix_prob: float = 1.0,
        frozen: bool = False,
        heads: dict[str, str] | list[str] | None = None,
        image_size: int | None = None,
    ) -> None:
        super().__init__(backbone, optim)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"supervised: label_smoothing is {label_smoothing}; use 0 to 1.")
        if heads is not None and image_size is None:
            raise ValueError("supervised: heads need image_size, such as ${data.views.size}.")
        self.num_classes, self.heads, self.image_size = num_classes, heads, image_size
        self.multi_label, self.label_smoothing, self.frozen = multi_label, label_smoothing, frozen
        self.mix = Mix(mixup, cutmix, mix_prob)
        self.head: nn.Module | None = None
        if frozen:
            self.backbone.requires_grad_(False)
        if num_classes is not None:
            self._build_head(num_classes)
        self.train(self.training)

    def _build_head(self, num_classes: int) -> None:
        if num_classes < 2 and not self.multi_label:
            raise RefusedRunError(
                f"supervised: the data has {num_classes} class, so there is nothing to tell apart. "
                "Give images of two classes or more."
            )
        self.num_classes = num_classes
        if self.heads is None:
            self.head = nn.Linear(cast(int, self.backbone.embed_dim), num_classes)
        else:
            with refusing(ValueError):
                size = cast(int, self.image_size)
                self.head = LayerHeads(self.backbone, self.heads, size, num_classes)
        names = self.head.names if isinstance(self.head, LayerHeads) else ()
        self.metrics.update(class_metrics(num_classes, multi_label=self.multi_label, heads=names))

    def on_data(self, num_images: int | None, num_classes: int | None) -> None:
        """Build the head for the data's classes, where the constructor was not told."""
        check_classes("supervised", self.num_classes, num_classes)
        if self.head is None and num_classes is not None:
            self._build_head(num_classes)

    def train(self, mode: bool = True) -> Supervised:
        """Set the mode; a frozen backbone stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def predict(self, images: Tensor) -> Any:
        """Compute logits ``[B, K]`` of images ``[B, C, H, W]``; with ``heads``, by head."""
        return self._built(self._features(images))

    @property
    def _built(self) -> nn.Module:
        if self.head is None:
            raise ValueError("supervised: there is no head yet; set num_classes, or train first.")
        return self.head

    def _features(self, images: Tensor) -> Tensor:
        """Run the backbone: its embedding, or with ``heads`` all layers side by side."""
        head = self._built
        found: Tensor = (head.features if isinstance(head, LayerHeads) else self.backbone)(images)
        return found

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the cross-entropy, over all views of the batch, summed over heads."""
        check_labels("supervised", batch["label"], self.multi_label)
        views, targets = zip(*(self._mixed(view, batch) for view in batch["views"]), strict=True)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features = forward_crops(self._features, views)  # [VB, D]
        logits, target = self._built(features), torch.cat(targets)
        if isinstance(self.head, LayerHeads):
            losses = [self._loss(one, target) for one in logits.values()]
            return StepOutput(sum(losses[1:], losses[0]), self.head.embedding(features))
        return StepOutput(self._loss(logits, target), embedding=features)

    def _loss(self, logits: Tensor, target: Tensor) -> Tensor:
        loss = multilabel_bce if self.multi_label else cross_entropy
        return loss(logits, target, label_smoothing=self.label_smoothing)

    def _mixed(self, view: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        if not self.mix.mixes:
            return view, batch["label"]
        mixed = self.mix(view, batch["index"], seed=self.seed, epoch=self.clock.epoch)
        return mixed.images, mixed_targets(batch["label"], mixed, int(self.num_classes or 0))
