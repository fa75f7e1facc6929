"""KoLeo: embeddings keep their distance from each other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sslight.distributed import gather_with_grad, rank, world_size
from sslight.losses.precision import full_precision


@full_precision
def koleo(embedding: Tensor, *, gather: bool = False, eps: float = 1e-8) -> Tensor:
    """Compute KoLeo (Sablayrolles et al., 2019, arXiv:1806.03198, eq. 2).

    ``-mean over i of log(min over j != i of |x_i - x_j|)``, with rows normalised inside, as in
    DINOv2 (arXiv:2304.07193, section 4): an entropy's estimate, which spreads a batch over the
    sphere. Gradient flows into both ends of each distance.

    Args:
        embedding: ``[B, D]``, one per image.
        gather: Look for neighbours on all ranks, with gradient: the mean over ranks, and gradients
            averaged over ranks, equal those of one process with the whole batch.
        eps: Added to the difference and to the distance, so that equal rows give no infinity.
    """
    images = len(embedding) * (world_size() if gather else 1)
    if embedding.ndim != 2 or images < 2:
        raise ValueError(
            f"koleo: needs [B, D] with two or more images, got {tuple(embedding.shape)}."
        )
    rows = F.normalize(embedding, dim=1)
    bank = gather_with_grad(rows) if gather else rows  # [WB, D]
    own = torch.arange(len(rows), device=rows.device) + (rank() * len(rows) if gather else 0)
    cosine = (rows.detach() @ bank.detach().T).scatter_(1, own[:, None], -2.0)
    neighbours = bank.index_select(0, cosine.argmax(1))
    return -(F.pairwise_distance(rows, neighbours, eps=eps) + eps).log().mean()
