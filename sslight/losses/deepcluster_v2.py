"""The loss of DeepCluster-v2: predict each image's cluster, in several clusterings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sslight.losses.classification import cross_entropy
from sslight.losses.precision import full_precision


@full_precision
def cluster_prediction(
    embedding: Tensor, centroids: Tensor, target: Tensor, temperature: float = 0.1
) -> Tensor:
    """Compute the cross-entropy of cluster ids with ``softmax(z . c / T)``, averaged over heads.

    Caron et al., 2020 (arXiv:2006.09882, appendix), in the authors' scale: the mean over crops and
    images whose cluster is known (those of all ranks), then over heads.

    Args:
        embedding: ``[VB, P]``, crop-major; normalised inside.
        centroids: ``[H, K, P]`` of length 1; no gradient flows into them.
        target: ``[H, B]``, the cluster of each image in each head, -1 for unknown.
        temperature: T.
    """
    _check(embedding, centroids, target, temperature)
    z = F.normalize(embedding, dim=1)
    crops = len(z) // target.shape[1]
    losses = [
        cross_entropy(z @ unit.detach().to(z.dtype).T / temperature, ids.repeat(crops))
        for unit, ids in zip(centroids, target, strict=True)
    ]
    return torch.stack(losses).mean()


def _check(embedding: Tensor, centroids: Tensor, target: Tensor, temperature: float) -> None:
    shapes = [tuple(x.shape) for x in (embedding, centroids, target)]
    fits = [len(shape) for shape in shapes] == [2, 3, 2] and len(centroids) == len(target)
    if not fits or embedding.shape[1] != centroids.shape[2]:
        raise ValueError(
            "deepcluster_v2: needs embeddings [VB, P], centroids [H, K, P] and targets [H, B], "
            f"got {shapes[0]}, {shapes[1]} and {shapes[2]}."
        )
    if target.shape[1] == 0 or len(embedding) % target.shape[1]:
        raise ValueError(
            f"deepcluster_v2: {len(embedding)} embeddings are no whole number of crops of "
            f"{target.shape[1]} images."
        )
    if not temperature > 0:
        raise ValueError(f"deepcluster_v2: temperature must be above 0, got {temperature}.")
