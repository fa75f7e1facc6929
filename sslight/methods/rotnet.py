"""RotNet: tell by which multiple of 90 degrees an image was turned."""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from sslight.losses.classification import cross_entropy
from sslight.module import SSLModule
from sslight.modules.heads import mlp
from sslight.modules.multicrop import forward_crops
from sslight.modules.rotation import all_turns, draw_turns, turned
from sslight.optim import Recipe
from sslight.types import Batch, StepOutput


class RotNet(SSLModule):
    """RotNet (Gidaris et al., 2018, arXiv:1803.07728), eq. 2 and 3.

    Each view is turned by 0, 90, 180 or 270 degrees, and a head on the backbone's embedding
    classifies the turn: softmax cross-entropy over four classes. Evaluated is the backbone.
    ``train/accuracy`` is the share of turns that are recognised (one in four by chance).

    In a YAML: ``method: {name: rotnet}`` with views from ``{name: supervised}``.

    Args:
        backbone: Maps images to ``[B, D]``.
        optim: The optimisation recipe.
        all_rotations: Show all four turns of every view, as the paper does: four times the batch.
            Otherwise one turn is drawn for each image, view and epoch, as in VISSL.
        layers: Linear layers of the head; 1 is a linear classifier.
        hidden_dim: Width of the head's hidden layers, where it has any.

    Note:
        Views are turned last, after crop and flip. VISSL turns first; but a left-right flip after
        a turn of 90 degrees is the flipped image turned by 270, so that a flip of probability 1/2
        would make the two classes indistinguishable.

        The paper's loss is the mean over the four turns of an image; so it is here with
        ``all_rotations``, and in expectation without.
    """

    default_views: ClassVar[str] = "supervised"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        all_rotations: bool = False,
        layers: int = 1,
        hidden_dim: int = 4096,
    ) -> None:
        super().__init__(backbone, optim)
        self.all_rotations = all_rotations
        self.head = mlp(cast(int, self.backbone.embed_dim), hidden_dim, 4, layers)

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the cross-entropy of the turns, over all views of the batch."""
        views, turns = self._all_turned(batch) if self.all_rotations else self._turned(batch)
        embedding = forward_crops(self.backbone, views)  # [VB, D], or [4VB, D]
        logits = self.head(embedding)
        right = (logits.argmax(1) == turns).float().mean()
        return StepOutput(cross_entropy(logits, turns), embedding, {"accuracy": right})

    def _turned(self, batch: Batch) -> tuple[list[Tensor], Tensor]:
        epoch, index = self.clock.epoch, batch["index"]
        views = batch["views"]
        turns = [draw_turns(self.seed, epoch, index, number) for number in range(len(views))]
        pairs = zip(views, turns, strict=True)
        return [turned(view, turn) for view, turn in pairs], torch.cat(turns).to(views[0].device)

    def _all_turned(self, batch: Batch) -> tuple[list[Tensor], Tensor]:
        views = [turn for view in batch["views"] for turn in all_turns(view)]
        numbers = torch.arange(len(views), device=views[0].device) % 4
        return views, numbers.repeat_interleave(len(views[0]))
