"""PIRL: an image and its shuffled patches share one row of a memory of embeddings."""

from __future__ import annotations

from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from sslight.checks import check_memory
from sslight.module import SSLModule
from sslight.modules.instance_nce import InstanceNCE
from sslight.modules.memory_bank import MemoryBank
from sslight.modules.patches import jittered_patches, random_orders, reordered
from sslight.optim import Recipe
from sslight.types import Batch, StepOutput

#: Patches of an image, from a grid of 3 x 3.
_PATCHES = 9


class PIRL(SSLModule):
    """PIRL (Misra & van der Maaten, 2020, arXiv:1912.01991), eq. 5, with jigsaw patches.

    One view is embedded whole. From another, nine jittered patches are cut, embedded each by
    itself in random order, projected, and joined to one vector. Both are to be told, by
    noise-contrastive estimation, by their image's row of a memory from the rows of random other
    images. After the loss the rows of the batch move towards the embeddings of the whole views.
    Evaluated is the backbone.

    In a YAML: ``method: {name: pirl, num_negatives: 32000}`` with views from ``{name: pirl}``.

    Args:
        backbone: Maps images to ``[B, D]``, of the size of a patch too.
        optim: The optimisation recipe.
        out_dim: Width of the rows of the memory, and of each patch's projection.
        num_negatives: K, other images that each image is told from.
        temperature: T.
        momentum: Of the memory's rows.
        patch_weight: Weight of the patches' loss; the whole view's has the rest.
        tile_size: Side of a patch in pixels; None for 64/85 of a cell.
        num_images: N, rows of the memory; by default as many as the training data has images.

    Note:
        How Z, negatives and the memory differ from VISSL's is told at
        :class:`sslight.methods.npid.NPID`; Z is estimated from both embeddings, both are scored
        before the memory moves, and against the same negatives. The embedding handed to probes is
        the whole view's.
    """

    needs: ClassVar[tuple[str, ...]] = ("views", "index")
    accumulation: ClassVar[Literal["exact", "approximate"]] = "approximate"
    default_views: ClassVar[str] = "pirl"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        out_dim: int = 128,
        num_negatives: int = 32000,
        temperature: float = 0.07,
        momentum: float = 0.5,
        patch_weight: float = 0.5,
        tile_size: int | None = None,
        num_images: int | None = None,
    ) -> None:
        super().__init__(backbone, optim)
        if not temperature > 0 or num_negatives < 1 or not 0 <= patch_weight <= 1:
            raise ValueError(
                f"pirl: temperature is {temperature}, num_negatives {num_negatives}, patch_weight "
                f"{patch_weight}; use above 0, 1 or more, and 0 to 1."
            )
        self.out_dim, self.num_negatives = out_dim, num_negatives
        self.temperature, self.momentum = temperature, momentum
        self.patch_weight, self.tile_size = patch_weight, tile_size
        embed_dim = cast(int, self.backbone.embed_dim)
        self.image_head = nn.Linear(embed_dim, out_dim)
        self.patch_head = nn.Linear(embed_dim, out_dim)
        self.joint_head = nn.Linear(_PATCHES * out_dim, out_dim)
        self.nce: InstanceNCE | None = None
        if num_images is not None:
            self._build_memory(num_images)

    def _build_memory(self, num_images: int) -> None:
        memory = MemoryBank(num_images, self.out_dim, self.momentum)
        self.nce = InstanceNCE(memory, self.num_negatives, self.temperature)

    def on_data(self, num_images: int | None, num_classes: int | None) -> None:
        """Build the memory for the data's images, where the constructor was not told."""
        check_memory("pirl", None if self.nce is None else len(self.nce.memory), num_images)
        if self.nce is None and num_images is not None:
            self._build_memory(num_images)

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute NCE of whole views and patches, then move the rows of the batch."""
        views, index = batch["views"], batch["index"]
        if self.nce is None:
            raise ValueError(
                "pirl: there is no memory yet; set num_images, or train with a Trainer."
            )
        if len(views) != 2:
            raise ValueError(
                f"pirl: each image has {len(views)} views, but one is embedded whole and one is "
                "cut into patches. Use views that make two, such as data.views: {name: pirl}."
            )
        embedding = self.backbone(views[0])  # [B, D]
        image = self.image_head(embedding)  # [B, P]
        patches = self._embed_patches(views[1], index)  # [B, P]
        of_patches, of_image = self.nce(
            [patches, image], index, seed=self.seed, epoch=self.clock.epoch
        )
        if self.training and torch.is_grad_enabled():
            self.nce.memory.update(index, image)
        loss = self.patch_weight * of_patches + (1 - self.patch_weight) * of_image
        logs = {"loss_patches": of_patches, "loss_image": of_image}
        return StepOutput(loss, embedding=embedding, logs=logs)

    def _embed_patches(self, view: Tensor, index: Tensor) -> Tensor:
        draws = {"seed": self.seed, "epoch": self.clock.epoch}
        patches = jittered_patches(view, index, size=self.tile_size, **draws)
        patches = reordered(patches, random_orders(index, _PATCHES, **draws))  # [B, 9, C, h, w]
        projected = self.patch_head(self.backbone(patches.flatten(0, 1)))  # [9B, P], image-major
        return cast(Tensor, self.joint_head(projected.view(len(view), -1)))
