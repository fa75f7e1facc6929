"""ClusterFit: cluster the features of one network, and train another on the clusters."""

from __future__ import annotations

import logging
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from sslight.augment.draws import seed_of
from sslight.checks import check_same_images, enough_images
from sslight.distributed import broadcast
from sslight.errors import RefusedRunError
from sslight.losses.classification import cross_entropy
from sslight.module import SSLModule
from sslight.modules.feature_clusters import feature_clusters
from sslight.modules.multicrop import forward_crops
from sslight.optim import Recipe
from sslight.schedules import Clock
from sslight.types import Batch, StepOutput

log = logging.getLogger("sslight")

#: Sets the draws of first centroids apart from others.
_STREAM = 0x6366


class ClusterFit(SSLModule):
    """ClusterFit (Yan et al., 2020, arXiv:1912.03330), section 3.

    Before the first epoch the backbone, with the weights that ``init`` gave it, embeds the clean
    view of every training image; its features, of length 1, are clustered by k-means. Then the
    backbone goes back to the weights it was built with and learns, with a linear head and softmax
    cross-entropy, to which cluster each image belongs. The clusters are saved with the method and
    never found again. Evaluated is the backbone.

    In a YAML: ``method: {name: clusterfit}`` and ``init: runs/rotnet`` for the network that is
    clustered; ``backbone`` must be built like it. In a notebook: build the method around a new
    backbone, then load weights into ``method.backbone`` (``sslight.checkpoints.init_backbone``).

    Args:
        backbone: Maps images to ``[B, D]``.
        optim: The optimisation recipe.
        num_clusters: K, at most one per image.
        kmeans_iterations: How often centroids move.
        pca_dim: Principal components of the features that are clustered; None for all of them.
        reset: Begin with the weights that the backbone was built with (on rank 0); else with
            ``init``'s.

    Note:
        VISSL extracts, clusters (faiss, on a sample of the images) and trains in three runs; here
        k-means sees all images, over all ranks, and an empty cluster keeps its centroid instead of
        splitting another one. Images that cannot be read have no cluster and do not count;
        micro-batches of an accumulated step weigh the same, however many of them there are. The two
        networks have one architecture, as in most of the paper; weights sharded over ranks cannot
        be reset.
    """

    needs: ClassVar[tuple[str, ...]] = ("views", "index")
    default_views: ClassVar[str] = "supervised"
    large_buffers: ClassVar[tuple[str, ...]] = ("assignments",)
    assignments: Tensor | None

    def __init__(
        self,
        backbone: nn.Module,
        optim: Recipe | None = None,
        *,
        num_clusters: int = 16000,
        kmeans_iterations: int = 50,
        pca_dim: int | None = None,
        reset: bool = True,
    ) -> None:
        super().__init__(backbone, optim)
        width = cast(int, self.backbone.embed_dim)
        if num_clusters < 2 or not 1 <= (pca_dim or width) <= width:
            raise ValueError(
                f"clusterfit: num_clusters is {num_clusters} and pca_dim {pca_dim}; use 2 clusters "
                f"or more, and 1 to {width} components (the backbone's width)."
            )
        self.num_clusters, self.kmeans_iterations = num_clusters, kmeans_iterations
        self.pca_dim, self.reset = pca_dim, reset
        self.head = nn.Linear(width, num_clusters)
        self.register_buffer("assignments", None)
        state = self.backbone.state_dict()
        self._first = {name: value.detach().clone() for name, value in state.items()}

    def on_data(self, num_images: int | None, num_classes: int | None) -> None:
        """Make room for the cluster of each image; clusters that are there stay."""
        images = enough_images("clusterfit", self.num_clusters, num_images)
        if self.assignments is None:
            self.assignments = torch.full((images,), -1)
        rows = len(self.assignments)
        check_same_images("clusterfit", f"{rows} images have clusters", rows, images)

    @property
    def _assignments(self) -> Tensor:
        if self.assignments is None:
            raise ValueError(
                "clusterfit: there are no clusters yet; train with Trainer().fit(method, data)."
            )
        return self.assignments

    def before_epoch(self, clock: Clock) -> None:
        """Cluster the images, unless they are: before the first epoch only."""
        if clock.epoch > 0 or (self._assignments >= 0).any():
            return
        self._check_weights()
        ids = feature_clusters(
            self.dataset_features("train"),
            self.num_clusters,
            self.kmeans_iterations,
            pca_dim=self.pca_dim,
            generator=torch.Generator().manual_seed(seed_of(self.seed, _STREAM)),
            device=self.device,
        )
        self._assignments.copy_(ids)
        if self.reset:
            self.backbone.load_state_dict(self._first)
            for value in self.backbone.state_dict().values():
                broadcast(value)  # ranks may have drawn their own; DDP sent rank 0's only once
        self._first = {}  # only needed once

    def _check_weights(self) -> None:
        state = self.backbone.state_dict()
        if self.reset and any(hasattr(value, "full_tensor") for value in state.values()):
            raise RefusedRunError(
                "clusterfit: the backbone's weights are sharded over ranks and cannot be reset. "
                "Use trainer.strategy: ddp."
            )
        if all(torch.equal(value, self._first[name].to(value)) for name, value in state.items()):
            log.warning(
                "clusterfit: no weights were loaded since the method was built, so the features of "
                "the backbone as it was built are clustered. For those of a trained network set "
                "init: runs/<run> (or load into method.backbone)."
            )

    def training_loss(self, batch: Batch) -> StepOutput:
        """Compute the cross-entropy with each image's cluster, over all views of the batch."""
        views, index = batch["views"], batch["index"]
        embedding = forward_crops(self.backbone, views)  # [VB, D]
        target = self._assignments[index].repeat(len(views))
        return StepOutput(cross_entropy(self.head(embedding), target), embedding=embedding)
