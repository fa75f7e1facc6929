"""NPID: every image is a class of its own, told from others by a memory of embeddings."""

from __future__ import annotations

from typing import ClassVar, Literal, cast

import torch
from torch import nn

from sslight.checks import check_memory
from sslight.module import SSLModule
from sslight.modules.instance_nce import InstanceNCE
from sslight.modules.memory_bank import MemoryBank
from sslight.modules.multicrop import forward_crops
from sslight.optim import Recipe
from sslight.types import Batch, StepOutput


class NPID(SSLModule):
    """NPID, instance discrimination (Wu et al., 2018, arXiv:1805.01978), eq. 4, 6 and 7.

    An embedding of length 1 is to be told by its image's row of a memory from the rows of random
    other images, by noise-contrastive estimation. After the loss the rows of the batch move towards
    its embeddings. NPID++ (Misra & van der Maaten, 2020, arXiv:1912.01991) is 32000 negatives and
    800 epochs. Evaluated is the backbone.

    In a YAML: ``method: {name: npid, num_negatives: 4096}`` with views from ``{name: npid}``.

    Args:
        backbone: Maps images to ``[B, D]``.
        optim: The optimisation recipe.
        out_dim: Width of the embedding in the memory.
        num_negatives: K, other images that each image is told from.
        temperature: T.
        momentum: Of the memory's rows.
        num_images: N, rows of the memory; by default as many as the training data has images.

    Note:
        VISSL and the authors' code estimate Z from the first batch of each process; here it is the
        first batch of all ranks, and equal on them. There a negative may be the image itself, here
        it never is. There each rank starts with a memory of its own and the mean of them is shorter
        than 1; here all start alike. There, of an image that comes twice in a batch, the last write
        wins; here its row moves once, towards the mean, and so it does for several views of an
        image. The paper's proximal term is left out, as it is there. A step holds
        ``B (1 + K) out_dim`` numbers of the memory on each device.
    """

    needs: ClassVar[tuple[str, ...]] = ("views", "index")
    accumulation: ClassVar[Literal["exact", "approximate"]] = "approximate"
    default_views: ClassVar[str] = "npid"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        out_dim: int = 128,
        num_negatives: int = 4096,
        temperature: float = 0.07,
        momentum: float = 0.5,
        num_images: int | None = None,
    ) -> None:
        super().__init__(backbone, optim)
        if not temperature > 0 or num_negatives < 1:
            raise ValueError(
                f"npid: temperature is {temperature} and num_negatives {num_negatives}; use above "
                "0, and 1 or more."
            )
        self.out_dim, self.num_negatives = out_dim, num_negatives
        self.temperature, self.momentum = temperature, momentum
        self.projector = nn.Linear(cast(int, self.backbone.embed_dim), out_dim)
        self.nce: InstanceNCE | None = None
        if num_images is not None:
            self._build_memory(num_images)

    def _build_memory(self, num_images: int) -> None:
        memory = MemoryBank(num_images, self.out_dim, self.momentum)
        self.nce = InstanceNCE(memory, self.num_negatives, self.temperature)

    def on_data(self, num_images: int | None, num_classes: int | None) -> None:
        """Build the memory for the data's images, where the constructor was not told."""
        check_memory("npid", None if self.nce is None else len(self.nce.memory), num_images)
        if self.nce is None and num_images is not None:
            self._build_memory(num_images)

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute NCE of all views against the memory, then move the rows of the batch."""
        if self.nce is None:
            raise ValueError(
                "npid: there is no memory yet; set num_images, or train with a Trainer."
            )
        views, index = batch["views"], batch["index"]
        embedding = forward_crops(self.backbone, views)  # [VB, D]
        projection = self.projector(embedding)  # [VB, P]
        losses = self.nce(
            projection.chunk(len(views)), index, seed=self.seed, epoch=self.clock.epoch
        )
        if self.training and torch.is_grad_enabled():
            self.nce.memory.update(index.repeat(len(views)), projection)
        return StepOutput(torch.stack(losses).mean(), embedding=embedding)
