"""k-nearest-neighbour classification, straight from the feature store."""

from __future__ import annotations

import logging
import time
from typing import Any

import torch

from sslight.distributed import rank, sum_over_ranks, world_size
from sslight.eval._rows import class_ids, vectors
from sslight.eval._statistics import interval
from sslight.eval.base import Result, Subject
from sslight.eval.votes import Tally, count_right

logger = logging.getLogger("sslight")


class KNN:
    """Weighted cosine kNN (Wu et al., 2018, arXiv:1805.01978): votes ``exp(similarity / T)``.

    One pass over the features serves every k and every temperature; the search is exact, in blocks
    of train images, and blocks of test images are shared out to the ranks. Rows without a label and
    images that could not be read neither vote nor count. A k beyond the labelled train images is
    left out, with a warning. ``low`` and ``high`` are the 95 % interval of top-1.

    Args:
        k: Numbers of neighbours.
        temperature: Temperatures T.
        train: Split that votes.
        test: Split that is classified.
        layers: Stored layers to evaluate; all of them by default.
    """

    def __init__(
        self,
        *,
        k: int | list[int] = (1, 10, 20, 200),  # type: ignore[assignment]
        temperature: float | list[float] = 0.07,
        train: str = "train",
        test: str = "test",
        layers: list[str] | None = None,
    ):
        self.k = _listed(k)
        self.temperature = _listed(temperature)
        self.train, self.test, self.layers = train, test, layers
        if not self.k or min(self.k) < 1:
            raise ValueError(f"k is {k}; give one number from 1, or several.")
        if not self.temperature or min(self.temperature) <= 0:
            raise ValueError(f"temperature is {temperature}; give one number above 0, or several.")
        if train == test:
            raise ValueError(f"knn: train and test are both {train!r}; every image finds itself.")

    def evaluate(self, subject: Subject) -> Result:
        """Top-1 and top-5 accuracy for each layer, k and temperature."""
        bank_labels = class_ids(subject, self.train, "knn")
        query_labels = class_ids(subject, self.test, "knn")
        labelled = int((bank_labels.numpy()[subject.split(self.train).ok] >= 0).sum())
        k = [n for n in self.k if n <= labelled] or [labelled]
        if k != self.k:
            logger.warning("knn: only %d labelled train images, so k is %s.", labelled, k)
        layers = self.layers or subject.layers
        start = time.perf_counter()
        rows: list[dict[str, Any]] = []
        total = 0
        for layer in layers:
            mine = count_right(
                vectors(subject.features(self.train, layer)), bank_labels,
                vectors(subject.features(self.test, layer)), query_labels,
                k=k, temperature=self.temperature, device=subject.device,
                share=(rank(), world_size()),
            )  # fmt: skip
            tally = _over_ranks(mine, subject.device)
            total = tally.total
            for (n, t), (top1, top5) in tally.accuracy().items():
                low, high = interval(top1, total)
                rows.append({"layer": layer, "k": n, "T": t, "top1": top1, "top5": top5,
                             "low": low, "high": high})  # fmt: skip
        metrics = self._metrics(rows, layers)
        return Result(
            "knn",
            metrics=metrics,
            options={"k": k, "temperature": self.temperature, "train": self.train,
                     "test": self.test, "layers": layers},
            n=total,
            seconds=time.perf_counter() - start,
            rows=rows,
            intervals={name: interval(share, total) for name, share in metrics.items()},
        )  # fmt: skip

    def _metrics(self, rows: list[dict[str, Any]], layers: list[str]) -> dict[str, float]:
        """``k20/top1``, with the layer in front and T behind where there are several of them."""
        metrics: dict[str, float] = {}
        for row in rows:
            name = f"k{row['k']}"
            name += f"_T{row['T']:g}" if len(self.temperature) > 1 else ""
            name = f"{row['layer']}/{name}" if len(layers) > 1 else name
            metrics |= {f"{name}/top1": row["top1"], f"{name}/top5": row["top5"]}
        return metrics


def _over_ranks(tally: Tally, device: torch.device | str) -> Tally:
    """Add up the ranks' counts."""
    mine = torch.cat([tally.correct.flatten(), torch.tensor([tally.total])])
    whole = sum_over_ranks(mine.to(device)).cpu()
    return Tally(tally.settings, whole[:-1].view_as(tally.correct), int(whole[-1]))


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
