"""Image retrieval: landmarks with easy, hard and junk images, same-class search, copy detection."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslight.eval._descriptors import (
    Pooling,
    Whitening,
    combined,
    learn_whitening,
    maps,
    regional,
)
from sslight.eval._names import named
from sslight.eval._ranking import measured, micro_precision, query_blocks, ranked
from sslight.eval._ranks import over_ranks
from sslight.eval._rows import readable_rows
from sslight.eval._statistics import mean_interval
from sslight.eval._truth import Truth, revisited, same_label
from sslight.eval.base import Result, Subject

#: Maps pooled at a time, and the best pairs of a query that copy detection ranks together.
_MAPS, _DEPTH = 256, 1000


class Retrieval:
    """Search a split for images like each query, by cosine of descriptors, exactly.

    ``truth`` says what the right answers are. ``same_class``: images with the query's label.
    ``copies``: the same, where a label names an original and its copies, and database images
    without a label are distractors (Copydays); ``micro_ap`` is then the average precision over the
    pairs of all queries, of which each query's best 1000 count as found. A path: the ground truth
    of R-Oxford or R-Paris as JSON (see docs), measured as its authors do (Radenovic et al., 2018,
    arXiv:1803.11285) in easy, medium and hard, junk taken out. ``map`` is mean average precision,
    ``mp<k>`` mean precision among the first k, ``low`` and ``high`` the 95 % interval of ``map``
    over queries. Queries without a right answer are left out. Blocks of queries are shared out to
    the ranks.

    Args:
        truth: ``same_class``, ``copies``, or a JSON file.
        queries: Split of the queries (landmarks: cropped to their box).
        database: Split that is searched; where it is ``queries``, no image finds itself.
        at: The numbers k of ``mp<k>``.
        pooling: ``gem``, ``rmac``, ``avg`` or ``max`` of stored maps, ``none`` for vectors.
        power: Of ``gem``.
        levels: Of ``rmac``.
        whitening: Split that PCA whitening is learnt from, not that of the database; none without.
        whitening_store: Store with that split; default this one.
        whitening_dim: Directions that whitening keeps; all of them by default.
        layers: Stored layers to evaluate; all of them by default.
    """

    def __init__(
        self,
        *,
        truth: str = "same_class",
        queries: str = "test",
        database: str = "train",
        at: list[int] = (1, 5, 10),  # type: ignore[assignment]
        pooling: Pooling = "none",
        power: float = 3.0,
        levels: int = 3,
        whitening: str | None = None,
        whitening_store: Path | None = None,
        whitening_dim: int | None = None,
        layers: list[str] | None = None,
    ):
        self.truth, self.queries, self.database, self.at = truth, queries, database, list(at)
        self.pooling, self.power, self.levels = pooling, power, levels
        self.whitening, self.whitening_store = whitening, whitening_store
        self.whitening_dim, self.layers = whitening_dim, layers
        if truth not in ("same_class", "copies") and not truth.endswith(".json"):
            raise ValueError(
                f"retrieval: truth is {truth!r}; write same_class, copies, or the path of a JSON "
                "file with ground truth."
            )
        if not self.at or min(self.at) < 1 or power <= 0 or levels < 1:
            raise ValueError(
                f"retrieval: got at={self.at}, power={power}, levels={levels}; `at` needs numbers "
                "from 1, power is above 0, levels count from 1."
            )

    def evaluate(self, subject: Subject) -> Result:
        """``map`` and ``mp<k>`` of each layer and setting."""
        truth = self._truth(subject)
        layers = self.layers or subject.layers
        start = time.perf_counter()
        rows = [row for layer in layers for row in self._layer(subject, truth, layer)]
        return Result(
            "retrieval",
            metrics=named(rows, "layer", "setting"),
            options={"truth": self.truth, "queries": self.queries, "database": self.database,
                     "pooling": self.pooling, "power": self.power, "levels": self.levels,
                     "whitening": self.whitening, "whitening_store": self.whitening_store,
                     "whitening_dim": self.whitening_dim, "layers": layers},
            n=len(truth.queries),
            seconds=time.perf_counter() - start,
            rows=rows,
        )  # fmt: skip

    def _truth(self, subject: Subject) -> Truth:
        if self.truth.endswith(".json"):
            return revisited(subject, Path(self.truth), self.queries, self.database)
        copies = self.truth == "copies"
        return same_label(subject, self.queries, self.database, distractors=copies)

    def _layer(self, subject: Subject, truth: Truth, layer: str) -> list[dict[str, Any]]:
        whitening = self._whitening(subject, layer)
        with tempfile.TemporaryDirectory() as folder:
            queries, database = (
                self._described(subject.features(split, layer), rows, whitening, Path(folder, name))
                for split, rows, name in (
                    (self.queries, truth.queries, "queries"),
                    (self.database, truth.database, "database"),
                )
            )

            def work(part: slice) -> dict[str, Any]:
                return self._block(queries[part], database, truth, part, subject.device)

            found = over_ranks(query_blocks(len(queries), len(database)), work)
        return [self._row(layer, name, found) for name in truth.settings]

    def _block(
        self, queries: np.ndarray, database: np.ndarray, truth: Truth, part: slice, device: Any
    ) -> dict[str, Any]:
        similarity, codes = ranked(queries, database, truth.codes(part), device)
        found: dict[str, Any] = {
            name: measured(codes, setting, self.at, trapezoid=truth.trapezoid)
            for name, setting in truth.settings.items()
        }
        if self.truth == "copies":
            (setting,) = truth.settings.values()
            kept = ~torch.isin(codes, torch.tensor(setting.junk, device=codes.device))
            kept[:, _DEPTH:] = False
            right = torch.isin(codes, torch.tensor(setting.positive, device=codes.device))
            found["pairs"] = similarity[kept].cpu(), right[kept].cpu(), int(right.sum())
        return found

    def _row(self, layer: str, name: str, found: list[dict[str, Any]]) -> dict[str, Any]:
        joined = {key: torch.cat([block[name][key] for block in found]) for key in found[0][name]}
        answered = ~joined["map"].isnan()
        values = {key: x[answered].tolist() for key, x in joined.items()}
        row: dict[str, Any] = {"layer": layer, **({"setting": name} if name else {})}
        row["queries"] = int(answered.sum())
        if not row["queries"]:
            return {**row, **dict.fromkeys([*joined, "low", "high"], float("nan"))}
        row |= {key: sum(x) / len(x) for key, x in values.items()}
        _, row["low"], row["high"] = mean_interval(values["map"])
        if self.truth == "copies":
            scores, right, answers = zip(*(block["pairs"] for block in found), strict=True)
            row["micro_ap"] = micro_precision(torch.cat(scores), torch.cat(right), sum(answers))
        return row

    # ---------------------------------------------------------------- descriptors

    def _whitening(self, subject: Subject, layer: str) -> Whitening | None:
        if self.whitening is None:
            return None
        other = subject
        if self.whitening_store is not None:
            other = Subject(self.whitening_store, device=subject.device)
        rows = readable_rows(other, self.whitening, "retrieval")
        features = other.features(self.whitening, layer)

        def blocks() -> Iterator[Tensor]:
            return (x.flatten(0, 1) for x in self._regions(features, rows))

        return learn_whitening(blocks, self.whitening_dim)

    def _described(
        self, features: np.ndarray, rows: np.ndarray, whitening: Whitening | None, path: Path
    ) -> np.ndarray:
        """Descriptors ``[n, D]`` of some rows, in a file: memory stays flat."""
        described: np.ndarray | None = None
        done = 0
        for regions in self._regions(features, rows):
            block = combined(regions, whitening).numpy()
            if described is None:
                described = np.memmap(path, np.float32, "w+", shape=(len(rows), block.shape[1]))
            described[done : done + len(block)] = block
            done += len(block)
        return described if described is not None else np.zeros((0, 1), np.float32)

    def _regions(self, features: np.ndarray, rows: np.ndarray) -> Iterator[Tensor]:
        for block in maps(features, rows, _MAPS):
            yield regional(block, self.pooling, power=self.power, levels=self.levels)
