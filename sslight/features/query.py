"""The stored images most like given features: exact cosine search, in bounded memory."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sslight.errors import RefusedRunError
from sslight.eval.neighbours import nearest
from sslight.features.store import Split

Index = Literal["exact", "faiss"]
_QUERIES = 4096  # searched for at a time: the features are read once for each block of them
_ROWS = 65536  # rows handed to faiss at a time


@dataclass(frozen=True)
class Match:
    """One stored image.

    Attributes:
        rank: 1 for the most similar.
        similarity: Cosine of the two features.
        id: Path or name of the image.
        label: Its class id, a list of targets, or None without labels.
        class_name: The class in words, where known.
        split: The split where it is stored.
        row: Its row there.
    """

    rank: int
    similarity: float
    id: str
    label: Any
    class_name: str | None
    split: str
    row: int


@dataclass(frozen=True)
class Neighbours:
    """The matches of several queries.

    Attributes:
        queries: What was asked for, in words.
        matches: For each query its matches, best first.
    """

    queries: list[str]
    matches: list[list[Match]]

    def __len__(self) -> int:
        return len(self.queries)

    def __getitem__(self, i: int) -> list[Match]:
        return self.matches[i]

    def to_json(self) -> str:
        """As text: a list with ``query`` and ``matches`` of each."""
        pairs = zip(self.queries, self.matches, strict=True)
        rows = [{"query": q, "matches": [asdict(m) for m in found]} for q, found in pairs]
        return json.dumps(rows, indent=1, ensure_ascii=False)

    def __str__(self) -> str:
        pairs = zip(self.queries, self.matches, strict=True)
        return "\n\n".join(_table(query, found) for query, found in pairs)


def _table(query: str, found: Sequence[Match]) -> str:
    """Columns as wide as what stands in them; paths come last and are never cut."""
    rows = [("rank", "similarity", "label", "split", "image")]
    for match in found:
        label = match.class_name if match.class_name is not None else _label(match.label)
        rows.append((str(match.rank), f"{match.similarity:.4f}", label, match.split, match.id))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([row[0].rjust(widths[0]), row[1].rjust(widths[1]),
                   row[2].ljust(widths[2]), row[3].ljust(widths[3]), row[4]])
        for row in rows
    ]  # fmt: skip
    return "\n".join([query, *lines])


def _label(label: Any) -> str:
    return "" if label is None else str(label)


def search(
    splits: Sequence[Split],
    queries: Tensor,
    names: Sequence[str],
    k: int = 10,
    *,
    layer: str | None = None,
    index: Index = "exact",
    device: torch.device | str = "cpu",
) -> Neighbours:
    """Find the k stored images whose features have the largest cosine with each query's.

    Images that could not be read are left out. Equal similarities go to the earlier split and row.
    Memory does not grow with the store (``exact``); ``faiss`` holds all features in memory.

    Args:
        splits: Where to search.
        queries: ``[Q, D]`` features of the stored layer.
        names: What the queries are called, ``Q`` of them.
        k: Matches per query; fewer where fewer images are stored.
        layer: Stored layer; None for the first.
        index: ``exact`` (torch, in blocks) or ``faiss`` (its exact inner-product index).
        device: Where ``exact`` computes.

    Raises:
        RefusedRunError: k, the width of the queries or their numbers cannot be.
    """
    banks = [_bank(split, layer) for split in splits]
    _check(queries, banks, k)
    look = _by_faiss if index == "faiss" else _exactly
    matches: list[list[Match]] = []
    for start in range(0, len(queries), _QUERIES):
        block = queries[start : start + _QUERIES].float()
        parts = [look(block, bank, min(k, len(bank)), device) for bank in banks if len(bank)]
        owners = [i for i, bank in enumerate(banks) if len(bank)]
        matches += _merged(parts, [splits[i] for i in owners], [banks[i] for i in owners], k)
    return Neighbours(list(names), matches)


class _Bank:
    """The readable rows of a layer ``[N, ...]`` as ``[n, D]``, read when sliced."""

    def __init__(self, array: np.ndarray, ok: np.ndarray):
        self._array = array
        self._rows = None if ok.all() else np.flatnonzero(ok)
        self.width = int(np.prod(array.shape[1:], dtype=np.int64))

    def __len__(self) -> int:
        return len(self._array) if self._rows is None else len(self._rows)

    def __getitem__(self, part: slice) -> np.ndarray:
        rows = self._array[part if self._rows is None else self._rows[part]]
        return np.asarray(rows, dtype=np.float32).reshape(len(rows), -1)

    def row(self, place: int) -> int:
        """The stored row at a place of this bank."""
        return place if self._rows is None else int(self._rows[place])


def _bank(split: Split, layer: str | None) -> _Bank:
    return _Bank(split.array(layer), split.ok & split.done)


def _check(queries: Tensor, banks: Sequence[_Bank], k: int) -> None:
    if k < 1:
        raise RefusedRunError(f"query: k is {k}; give a number from 1.")
    if not sum(len(bank) for bank in banks):
        raise RefusedRunError("query: no image with features is stored in the splits asked for.")
    width = banks[0].width
    if queries.ndim != 2 or queries.shape[1] != width:
        raise RefusedRunError(
            f"query: the stored layer has {width} numbers per image, the queries are "
            f"{list(queries.shape)}; give [Q, {width}] or one [{width}]."
        )
    if not bool(queries.isfinite().all()):
        raise RefusedRunError("query: the features asked for are not finite (NaN or infinity).")


Found = tuple[Tensor, Tensor]  # similarities [Q, k], places in the bank [Q, k]


def _exactly(queries: Tensor, bank: _Bank, k: int, device: torch.device | str) -> Found:
    return nearest(queries, bank, k, device=device)


def _by_faiss(queries: Tensor, bank: _Bank, k: int, device: torch.device | str) -> Found:
    faiss = _import_faiss()
    index = faiss.IndexFlatIP(bank.width)
    for start in range(0, len(bank), _ROWS):
        rows = torch.from_numpy(bank[start : start + _ROWS])
        index.add(normalize(rows, dim=1).numpy())
    similarity, places = index.search(normalize(queries, dim=1).cpu().numpy(), k)
    return torch.from_numpy(similarity), torch.from_numpy(places)


def _import_faiss() -> Any:
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise ImportError(
            'index="faiss" needs faiss. Install it with: pip install "sslight[faiss]", or search '
            'with index="exact", which needs nothing.'
        ) from error


def _merged(
    parts: Sequence[Found], splits: Sequence[Split], banks: Sequence[_Bank], k: int
) -> list[list[Match]]:
    """The k best over all splits, for each query."""
    similarity = torch.cat([values for values, _ in parts], dim=1)
    places = torch.cat([rows for _, rows in parts], dim=1)
    owner = [i for i, (_, rows) in enumerate(parts) for _ in range(rows.shape[1])]
    best, columns = similarity.sort(dim=1, descending=True, stable=True)
    return [
        [
            _match(rank, best_row[rank], splits[owner[c]], banks[owner[c]].row(place_row[c]))
            for rank, c in enumerate(column_row[:k])
        ]
        for best_row, column_row, place_row in zip(
            best.tolist(), columns.tolist(), places.tolist(), strict=True
        )
    ]


def _match(rank: int, similarity: float, split: Split, row: int) -> Match:
    label: Any = None if split.labels is None else np.asarray(split.labels[row]).tolist()
    classes = split.classes or []
    known = isinstance(label, int) and 0 <= label < len(classes)
    name = classes[label] if known else None
    return Match(rank + 1, similarity, split.ids[row], label, name, split.name, row)
