"""Exact rankings of a database for each query, and what they are measured by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from sslight.eval._scores import average_precision
from sslight.eval._truth import Setting
from sslight.eval.neighbours import full_precision

#: Bytes per similarity while it is being ranked.
_BYTES = 64


def query_blocks(count: int, database: int, memory: int = 2**28) -> list[slice]:
    """Cut the queries so that each block's rankings of the database fit in ``memory`` bytes."""
    step = max(1, memory // (_BYTES * max(database, 1)))
    return [slice(i, min(i + step, count)) for i in range(0, count, step)]


@torch.no_grad()
def ranked(
    queries: np.ndarray, database: np.ndarray, codes: Tensor, device: torch.device | str
) -> tuple[Tensor, Tensor]:
    """Rank the database for some queries; equal similarities stay in the database's order.

    Args:
        queries: ``[b, D]`` unit descriptors.
        database: ``[N, D]``, likewise.
        codes: ``[b, N]``, what each database image is to each query.
        device: Where to compute.

    Returns:
        Similarities and codes ``[b, N]``, best first, on the device.
    """
    asked = torch.tensor(queries, device=device)
    with full_precision(asked.device):
        columns = [asked @ block.T for block in _on_device(database, device)]
    similarity, order = torch.cat(columns, 1).sort(dim=1, descending=True, stable=True)
    return similarity, codes.to(device).gather(1, order)


def _on_device(database: np.ndarray, device: torch.device | str) -> Iterator[Tensor]:
    for start in range(0, len(database), 8192):
        yield torch.tensor(database[start : start + 8192], device=device)


def measured(
    codes: Tensor, setting: Setting, at: Sequence[int], *, trapezoid: bool
) -> dict[str, Tensor]:
    """Average precision and precision at k of rankings, on the CPU.

    (torchmetrics takes a query at a time, knows no junk, and drops images whose score is not above
    0, which a cosine often is.)

    Junk is taken out before ranks are counted. A query without a right answer gives NaN. With
    ``trapezoid`` (the Oxford benchmarks) the precision of an answer is averaged with the precision
    just before it, and where all answers stand within the first k, precision at k is taken at the
    last of them.

    Args:
        codes: ``[b, N]``, best first.
        setting: Which codes are right, and which junk.
        at: The numbers k.
        trapezoid: As said.

    Returns:
        ``map`` and ``mp<k>``, each ``[b]``, float64.
    """
    right, junk = _among(codes, setting.positive), _among(codes, setting.junk)
    place = (~junk).cumsum(1)  # 1 for the best
    hits = right.cumsum(1)
    count = hits[:, -1]
    precision = hits.double() / place.clamp_min(1)
    if trapezoid:
        before = torch.where(place > 1, (hits - 1).double() / (place - 1).clamp_min(1), 1.0)
        precision = (precision + before) / 2
    found = {"map": (precision * right).sum(1) / count}
    last = (place * right).amax(1)
    for k in at:
        depth = last.clamp(max=k) if trapezoid else torch.full_like(last, k)
        within = (right & (place <= depth[:, None])).sum(1)
        found[f"mp{k}"] = torch.where(count > 0, within.double() / depth.clamp_min(1), torch.nan)
    return {name: values.cpu() for name, values in found.items()}


def _among(codes: Tensor, chosen: Sequence[int]) -> Tensor:
    return torch.stack([codes == code for code in chosen]).any(0)


def micro_precision(similarity: Tensor, right: Tensor, answers: int) -> float:
    """Average precision over the pairs of all queries, ranked together by similarity.

    Args:
        similarity: ``[P]`` of the pairs that were kept.
        right: ``[P]`` bool.
        answers: Right pairs in all, those that were not kept included.
    """
    if not bool(right.any()):
        return 0.0
    share = float(right.sum()) / answers
    return average_precision(similarity.double(), right.long()) * share
