"""How healthy are features? Measures that need no labels."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslight import metrics
from sslight.backbones.layers import EMBEDDING
from sslight.distributed import rank, world_size
from sslight.eval._names import named
from sslight.eval._ranks import over_ranks
from sslight.eval._rows import blocks, readable_rows, vectors
from sslight.eval._statistics import mean_interval
from sslight.eval.base import Result, Subject

_NAMES = ("effective_rank", "rankme", "alpha_req", "uniformity", "feature_std")


class Health:
    """Rank, spectrum and spread of features, without labels.

    ``effective_rank`` (Roy & Vetterli, 2007) of centred features; ``rankme`` (Garrido et al., 2023,
    arXiv:2210.02885), uncentred; ``alpha_req`` (Agrawal et al., 2022), the decay of the
    covariance's spectrum; ``uniformity`` (Wang & Isola, 2020, arXiv:2005.10242), lower is more
    uniform; ``feature_std`` (Chen & He, 2021), 0 where all features point one way, 1 where they
    spread evenly. With a backbone and images also ``alignment`` (Wang & Isola) of two training
    views per image, of the backbone's output, lower is more alike. Of more than ``most`` images,
    ``draws`` samples are measured and 95 % intervals given; fewer bound the ranks by their number.

    Args:
        split: The images.
        most: Images of a sample; RankMe's authors use 25,600.
        draws: Samples, where there are more images than that.
        spectrum: First and last eigenvalue, from 1, of ``alpha_req``'s fit.
        alignment_images: Images of which two views are compared; 0 for none.
        layers: Stored layers to measure; all of them by default.
        seed: Of the samples.
    """

    def __init__(
        self,
        *,
        split: str = "train",
        most: int = 25_600,
        draws: int = 3,
        spectrum: tuple[int, int] = (4, 100),
        alignment_images: int = 2048,
        layers: list[str] | None = None,
        seed: int = 0,
    ):
        self.split, self.most, self.draws = split, most, draws
        self.spectrum, self.alignment_images = spectrum, alignment_images
        self.layers, self.seed = layers, seed
        first, last = spectrum
        if most < 2 or draws < 1 or alignment_images < 0 or not 1 <= first < last:
            raise ValueError(
                f"health: got most={most}, draws={draws}, spectrum={list(spectrum)}, "
                f"alignment_images={alignment_images}; use 2 images or more, 1 draw or more, and a "
                "spectrum [first, last] with 1 <= first < last."
            )

    def evaluate(self, subject: Subject) -> Result:
        """The measures of each layer."""
        rows = readable_rows(subject, self.split, "health")
        layers = self.layers or subject.layers
        start = time.perf_counter()
        samples = self._samples(rows)
        tasks = [(layer, sample) for layer in layers for sample in range(len(samples))]
        found = over_ranks(tasks, lambda task: self._measured(subject, task[0], samples[task[1]]))
        aligned = self._alignment(subject, rows)
        table = []
        for number, layer in enumerate(layers):
            mine = found[number * len(samples) : (number + 1) * len(samples)]
            row: dict[str, Any] = {"layer": layer, "images": len(samples[0])}
            for name in _NAMES:
                mean, low, high = mean_interval([values[name] for values in mine])
                row[name] = mean
                row |= {f"{name}_low": low, f"{name}_high": high} if len(samples) > 1 else {}
            if aligned:  # of the backbone's output, whatever is stored
                row["alignment"] = f"{aligned['alignment']:.4f}" if layer == EMBEDDING else ""
            table.append(row)
        return Result(
            "health",
            metrics={**named(table, "layer"), **aligned},
            options={"split": self.split, "most": self.most, "draws": len(samples),
                     "spectrum": list(self.spectrum), "layers": layers, "seed": self.seed},
            n=len(rows),
            seconds=time.perf_counter() - start,
            rows=table,
        )  # fmt: skip

    def _samples(self, rows: np.ndarray) -> list[np.ndarray]:
        if len(rows) <= self.most:
            return [rows]
        draw = np.random.default_rng(self.seed)
        return [np.sort(draw.choice(rows, self.most, replace=False)) for _ in range(self.draws)]

    def _measured(self, subject: Subject, layer: str, rows: np.ndarray) -> dict[str, float]:
        features = vectors(subject.features(self.split, layer))
        x = torch.cat(list(blocks(features, rows))).to(subject.device)
        first, last = self.spectrum
        values = {
            "effective_rank": metrics.effective_rank(x),
            "rankme": metrics.rankme(x),
            "alpha_req": metrics.alpha_req(x, first=first, last=last),
            "uniformity": metrics.uniformity(x),
            "feature_std": metrics.feature_std(x),
        }
        return {name: float(value) for name, value in values.items()}

    def _alignment(self, subject: Subject, rows: np.ndarray) -> dict[str, float]:
        """Alignment and its interval over images; nothing without images and two views of each."""
        if not subject.has_views or not self.alignment_images:
            return {}
        draw = np.random.default_rng(self.seed)
        chosen = np.sort(draw.permutation(rows)[: self.alignment_images])
        found: list[float] = []
        for batch in subject.views(self.split, chosen[rank() :: world_size()]):
            views = batch["views"][: batch.get("n_global", len(batch["views"]))]
            if len(views) < 2:
                return {}
            found += _distances(subject.backbone, views[0], views[1], batch.get("ok"))
        whole = [x for part in _gathered(found) for x in part]
        mean, low, high = mean_interval(whole)
        return {"alignment": mean, "alignment_low": low, "alignment_high": high}


def _distances(backbone: Any, a: Tensor, b: Tensor, ok: Tensor | None) -> list[float]:
    from sslight.features.compute import eval_mode

    with eval_mode(backbone), torch.inference_mode():
        first, second = backbone(a), backbone(b)
    kept = torch.ones(len(first), dtype=torch.bool) if ok is None else ok.bool().cpu()
    pairs = torch.cat([first, first[:1]]), torch.cat([second, second[:1]])  # a pair may be alone
    distances: list[float] = metrics.alignment(*pairs)[:-1].cpu()[kept].tolist()
    return distances


def _gathered(mine: list[float]) -> list[list[float]]:
    """Every rank's values."""
    return over_ranks(range(world_size()), lambda _: mine)
