"""Exact search for the most similar rows, in blocks of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear, normalize

#: Bank rows compared at a time, and of them on a CPU.
BANK_BLOCK = 8192
_CPU_BLOCK = 4096
#: Bytes of similarities that a CPU's cache holds until the largest of them are selected.
_CACHED = 2**23
#: Queries from which a block of the bank is worth a copy for oneDNN, which is as quick as MKL with
#: AVX2 and twice as quick with AVX-512 on an AMD, where MKL does not use it.
_MANY = 128


def nearest(
    queries: Any,
    bank: Any,
    k: int,
    *,
    device: torch.device | str = "cpu",
    memory: int = 2**28,
) -> tuple[Tensor, Tensor]:
    """Find each query's k most similar bank rows, exactly.

    Equal similarities go to the lower row, so that the result does not depend on the blocks.

    Args:
        queries: ``[Q, D]`` tensor or array; normalised here, in float32.
        bank: ``[N, D]``, read once, block by block.
        k: Neighbours per query, at most N.
        device: Where similarities are computed.
        memory: Bytes for one block of similarities.

    Returns:
        Cosine similarities ``[Q, k]``, descending, and bank rows ``[Q, k]``, both on the CPU.
    """
    if not 1 <= k <= len(bank):
        raise ValueError(f"k must be between 1 and the bank's {len(bank)} rows, got {k}.")
    on_cpu = torch.device(device).type == "cpu"
    step = min(BANK_BLOCK, _CPU_BLOCK if on_cpu else BANK_BLOCK, len(bank))
    memory = min(memory, _CACHED) if on_cpu else memory
    size = max(1, memory // (4 * (step + k)))
    has = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    quick = on_cpu and has and len(queries) >= _MANY
    with torch.no_grad(), full_precision(torch.device(device)):
        parts = [
            _block(queries, start, start + size, device, quick)
            for start in range(0, max(len(queries), 1), size)
        ]
        pools = [_Pool(len(part), k, device) for part in parts]
        for start in range(0, len(bank), step):
            block = _block(bank, start, start + step, device, quick)
            for part, pool in zip(parts, pools, strict=True):
                found = linear(part, block)
                pool.add(found.to_dense() if quick else found, start)
            del block  # before the next one is made
    best = [pool.best() for pool in pools]
    return torch.cat([b[0] for b in best]).cpu(), torch.cat([b[1] for b in best]).cpu()


class _Pool:
    """What may be among the k best of some queries; lower rows stand before higher ones of a value.

    Once k are found, few values of a new block can enter, and on a CPU to compare all of them with
    the worst that was found is much cheaper than to select anew. The pool is cut down to k when it
    has grown to several times that.
    """

    def __init__(self, queries: int, k: int, device: torch.device | str) -> None:
        self.k = k
        self.values = torch.empty(queries, 0, device=device)
        self.rows = torch.empty(queries, 0, dtype=torch.int64, device=device)
        self.floor: Tensor | None = None

    def add(self, similarity: Tensor, start: int) -> None:
        """Take in a block of similarities ``[Q, n]``, whose first column is bank row ``start``."""
        few = None
        if self.floor is not None and similarity.is_cpu:
            few = _above(similarity, self.floor, 2 * self.k)
        values, columns = few or _first_largest(similarity, min(self.k, similarity.shape[1]))
        self.values = torch.cat([self.values, values], dim=1)
        self.rows = torch.cat([self.rows, columns + start], dim=1)
        if self.values.shape[1] > (2 * self.k if few else self.k):
            self._cut()
        if self.floor is None and self.values.shape[1] == self.k:
            self.floor = self.values.amin(dim=1)

    def best(self) -> tuple[Tensor, Tensor]:
        """Values ``[Q, k]``, descending, and their rows."""
        self._cut()
        return self.values, self.rows

    def _cut(self) -> None:
        self.values, columns = _first_largest(self.values, min(self.k, self.values.shape[1]))
        self.rows = self.rows.gather(1, columns)
        self.floor = self.values[:, -1] if self.values.shape[1] == self.k else None


def _above(values: Tensor, floor: Tensor, most: int) -> tuple[Tensor, Tensor] | None:
    """Values above each row's floor and their columns, ``-inf`` behind them; None if too many."""
    higher = np.greater(values.numpy(), floor.numpy()[:, None])  # torch's is 7 times slower
    place = torch.from_numpy(np.flatnonzero(higher))
    row, column = place // values.shape[1], place % values.shape[1]
    counts = row.bincount(minlength=len(values))
    width = int(counts.max())
    if width > most:
        return None
    nth = torch.arange(len(place)) - (counts.cumsum(0) - counts)[row]
    kept = values.new_full((len(values), width), -torch.inf)
    columns = row.new_zeros(len(values), width)
    kept[row, nth], columns[row, nth] = values[row, column], column
    return kept, columns


def _first_largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """``topk`` that breaks ties in favour of the lower column (torch's choice is unspecified)."""
    top, columns = _largest(values, min(k + 1, values.shape[1]))
    tied = (top[:, 1:] == top[:, :-1]).any(dim=1).nonzero().flatten()
    if len(tied):
        ascending = columns[tied].sort(dim=1).values
        top[tied], order = (
            values[tied].gather(1, ascending).sort(dim=1, descending=True, stable=True)
        )
        columns[tied] = ascending.gather(1, order)
    edge = (top[:, k - 1] == top[:, -1]).nonzero().flatten() if top.shape[1] > k else ()
    if len(edge):  # the last one is equal to one that was left out, or to several
        columns[edge] = values[edge].sort(dim=1, descending=True, stable=True).indices[:, : k + 1]
    return top[:, :k], columns[:, :k]


def _largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """``topk``; on a CPU by numpy's partition, which is vectorised."""
    if not values.is_cpu:
        return values.topk(k, dim=1)
    columns = torch.from_numpy(values.numpy().argpartition(-k, axis=1)[:, -k:])
    top, order = values.gather(1, columns).sort(dim=1, descending=True)
    return top, columns.gather(1, order)


def as_tensor(rows: Any) -> Tensor:
    """Take a tensor as it is, and copy an array."""
    return rows if isinstance(rows, Tensor) else torch.tensor(rows)


def _block(source: Any, start: int, stop: int, device: torch.device | str, quick: bool) -> Tensor:
    rows = normalize(as_tensor(source[start:stop]).to(device).float(), dim=1)
    return rows.to_mkldnn() if quick else rows


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Switch autocast and TF32 off: near neighbours differ in the last digits."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
