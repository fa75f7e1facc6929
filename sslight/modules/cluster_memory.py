"""A memory of every image's embeddings, and the clusters found in it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslight.distributed import all_gather
from sslight.losses.precision import widened
from sslight.modules.kmeans import kmeans, nearest

#: Images whose features are embedded together when the memory is filled.
_ROWS = 4096


class ClusterMemory(nn.Module):
    """Embeddings of N images in C crops, clustered H times (DeepCluster-v2, arXiv:2006.09882).

    Rows are found by image index. All ranks hold all of it, equal to the last bit.

    Args:
        num_images: N.
        dim: Width of the embeddings.
        crops: C.
        num_clusters: K of each clustering.
        heads: H; clustering h is made from crop ``h mod C``.
    """

    large_buffers = ("rows", "centroids", "assignments")
    rows: Tensor
    centroids: Tensor
    assignments: Tensor

    def __init__(
        self, num_images: int, dim: int, *, crops: int, num_clusters: int, heads: int
    ) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(crops, num_images, dim))
        self.register_buffer("centroids", torch.zeros(heads, num_clusters, dim))
        unknown = torch.full((heads, num_images), -1, dtype=torch.int64)
        self.register_buffer("assignments", unknown)

    def __len__(self) -> int:
        return self.rows.shape[1]

    @torch.no_grad()
    def fill(self, rows: Tensor, first: int) -> None:
        """Write embeddings ``[B, dim]``, the same on all ranks, into every crop from ``first``."""
        self.rows[:, first : first + len(rows)] = _directions(rows).to(self.rows.dtype)

    @torch.no_grad()
    def fill_by(self, network: nn.Module, features: Tensor) -> None:
        """Write what a network makes of every image's features ``[N, D]`` into every crop."""
        for start in range(0, len(features), _ROWS):
            self.fill(network(features[start : start + _ROWS].to(self.rows)), start)

    @torch.no_grad()
    def write(self, index: Tensor, crops: Sequence[Tensor]) -> None:
        """Write this rank's embeddings, ``[B, dim]`` per crop, of images ``index`` ``[B]``.

        Of an image that comes more than once in the global batch the last embedding stays.
        """
        index = all_gather(index)
        last = last_of_each(index)
        for memory, rows in zip(self.rows, crops, strict=True):
            gathered = all_gather(_directions(rows)).to(memory.dtype)
            memory.index_copy_(0, index, gathered[last])

    @torch.no_grad()
    def cluster(self, iterations: int, generator: torch.Generator) -> None:
        """Find every head's centroids and assignments by spherical k-means."""
        for head, (centroids, assignments) in enumerate(
            zip(self.centroids, self.assignments, strict=True)
        ):
            rows = self.rows[head % len(self.rows)]
            found = kmeans(rows, len(centroids), iterations, spherical=True, generator=generator)
            centroids.copy_(found)
            assignments.copy_(nearest(rows, found, spherical=True))


def last_of_each(index: Tensor) -> Tensor:
    """Give, for each entry of ``[B]``, the last position that holds the same value.

    Writing ``rows[last_of_each(index)]`` at ``index`` does not depend on the order of writing.
    """
    places = torch.arange(len(index), device=index.device)
    return torch.where(index[:, None] == index, places, -1).amax(dim=1)


def _directions(rows: Tensor) -> Tensor:
    """Normalise rows; those of images that could not be read become 0."""
    wide: Tensor = widened(rows.detach())
    return F.normalize(wide.nan_to_num(0.0), dim=1)
