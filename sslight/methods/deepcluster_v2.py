"""DeepCluster-v2: cluster a memory of embeddings every epoch, then predict the clusters."""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from torch import nn

from sslight.augment.draws import seed_of
from sslight.checks import check_same_images, enough_images
from sslight.losses.deepcluster_v2 import cluster_prediction
from sslight.module import SSLModule
from sslight.modules.cluster_memory import ClusterMemory
from sslight.modules.heads import mlp
from sslight.modules.multicrop import forward_crops
from sslight.modules.prototypes import FixedPrototypes
from sslight.optim import Recipe
from sslight.schedules import Clock
from sslight.types import Batch, StepOutput

#: Sets the draws of first centroids apart from others.
_STREAM = 0x6463_7632


class DeepClusterV2(SSLModule):
    """DeepCluster-v2 (Caron et al., 2020, arXiv:2006.09882), in the appendix.

    A memory holds the embeddings of every image's first crops as they were when the image was last
    trained on. When an epoch begins, spherical k-means clusters the memory once for each head, and
    during the epoch all crops of an image predict its clusters: cross-entropy with
    ``softmax(z . c / T)``, where the centroids c are fixed. Evaluated is the backbone.

    In a YAML: ``method: {name: deepcluster_v2, num_clusters: 3000, heads: 3}`` with views from
    ``{name: swav}``.

    Args:
        backbone: Maps images to ``[B, D]``.
        optim: The optimisation recipe.
        hidden_dim: Width of the projector's hidden layer.
        out_dim: Width of the embedding.
        num_clusters: Clusters of each head, at most one per image.
        heads: Clusterings; head h is made from memory crop ``h mod memory_crops``.
        memory_crops: The first crops, whose embeddings are remembered.
        kmeans_iterations: How often centroids move.
        bn: Batch norm in the projector's hidden layer.
        temperature: T.

    Note:
        The memory is addressed by image index and is the same on every rank. The authors' code and
        VISSL keep one per rank in the order of the batches: ids and embeddings then go together
        only while every rank sees the same images in each epoch, and images of the dropped tail
        have no cluster; here each image has one, from its newest embedding. Before the first epoch
        the memory is filled from the clean view, in eval mode, for all crops alike, where the
        authors' code runs an epoch of training views in train mode: it depends on the weights
        alone, at any number of ranks. An image that cannot be read is a row of zeros.
    """

    needs: ClassVar[tuple[str, ...]] = ("views", "index")
    default_views: ClassVar[str] = "swav"

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        hidden_dim: int = 2048,
        out_dim: int = 128,
        num_clusters: int = 3000,
        heads: int = 3,
        memory_crops: int = 2,
        kmeans_iterations: int = 10,
        bn: bool = True,
        temperature: float = 0.1,
    ) -> None:
        super().__init__(backbone, optim)
        sizes = {"num_clusters": num_clusters, "heads": heads, "memory_crops": memory_crops}
        for name, value in sizes.items():
            if value < 1:
                raise ValueError(f"deepcluster_v2: {name} is {value}; use 1 or more.")
        self.num_clusters, self.heads, self.memory_crops = num_clusters, heads, memory_crops
        self.kmeans_iterations, self.temperature = kmeans_iterations, temperature
        self.out_dim = out_dim
        self.projector = mlp(cast(int, self.backbone.embed_dim), hidden_dim, out_dim, bn=bn)
        self.memory: ClusterMemory | None = None

    def on_data(self, num_images: int | None, num_classes: int | None) -> None:
        """Build the memory for the data's images; one that is there stays."""
        images = enough_images("deepcluster_v2", self.num_clusters, num_images)
        if self.memory is None:
            sizes = {"num_clusters": self.num_clusters, "heads": self.heads}
            self.memory = ClusterMemory(images, self.out_dim, crops=self.memory_crops, **sizes)
        rows = len(self.memory)
        check_same_images("deepcluster_v2", f"the memory has {rows} rows", rows, images)

    @property
    def _memory(self) -> ClusterMemory:
        if self.memory is None:
            raise ValueError(
                "deepcluster_v2: there is no memory yet; call on_data(num_images, None), or train "
                "with Trainer().fit(method, datamodule)."
            )
        return self.memory

    def before_epoch(self, clock: Clock) -> None:
        """Cluster the memory; fill it before the first epoch."""
        if clock.epoch == 0:
            self._fill()
        seed = seed_of(self.seed, _STREAM, clock.epoch)
        self._memory.cluster(self.kmeans_iterations, torch.Generator().manual_seed(seed))

    def _fill(self) -> None:
        """Embed the clean view of every image."""
        features = self.dataset_features("train")  # [N, D], on the CPU
        self.projector.eval()
        self._memory.fill_by(self.projector, features)
        self.projector.train(self.training)

    @property
    def prototype_head(self) -> nn.Module:
        """Compares embeddings ``[B, D]`` with the first head's centroids: cosines ``[B, K]``."""
        return nn.Sequential(self.projector, FixedPrototypes(self._memory.centroids[0]))

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the cross-entropy with the clusters of the batch's images, over all crops."""
        views, index, memory = batch["views"], batch["index"], self._memory
        if self.memory_crops > len(views):
            raise ValueError(
                f"deepcluster_v2: memory_crops is {self.memory_crops}, but the batch has "
                f"{len(views)} views. Set method.memory_crops to their number, or add views."
            )
        embedding = forward_crops(self.backbone, views)  # [VB, D]
        z = self.projector(embedding)  # [VB, P]
        target = memory.assignments[:, index]  # [H, B]
        loss = cluster_prediction(z, memory.centroids, target, self.temperature)
        if self.training and torch.is_grad_enabled():
            memory.write(index, z.chunk(len(views))[: self.memory_crops])
        return StepOutput(loss, embedding=embedding)
